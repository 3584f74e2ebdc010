"""The forms of secrets that most people meet: a table, one line per provider format. More are in
secret_rules_services.py, those without a form of their own in secret_rules_announced.py.

`hint` is a literal that every match contains, so that text without it costs one substring search. If the pattern has a
group, the group is the secret and what is before it only announces it. No pattern spans white space inside the secret.
"""

from __future__ import annotations

import re

from sidecar.checks.detectors.secret_rule import SecretRule, rule

RULES: tuple[SecretRule, ...] = (
    rule("aws_access_key", "AKIA", r"AKIA[A-Z0-9]{16}"),
    rule("aws_access_key", "ASIA", r"ASIA[A-Z0-9]{16}"),
    SecretRule(
        "aws_secret_key",
        "ecret",
        re.compile(r"(?i:aws.{0,12}secret.{0,20}?[=:]\s{0,3}[\"']?)([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"),
        opening=re.compile(r"(?i:aws)"),
        touching=False,
    ),
    *(rule("github_token", f"gh{kind}_", rf"gh{kind}_[A-Za-z0-9]{{36,255}}") for kind in "pousr"),
    rule("github_token", "github_pat_", r"github_pat_[A-Za-z0-9_]{22,255}"),
    *(
        rule("gitlab_token", f"gl{kind}-", rf"gl{kind}-[A-Za-z0-9_\-.]{{20,64}}")
        for kind in ("pat", "dt", "rt", "cbt", "ptt", "ft", "imt", "agent", "soat", "ffct")
    ),
    rule("slack_token", "xox", r"xox[abeprs]-(?=[A-Za-z-]{0,12}[0-9])[A-Za-z0-9-]{20,250}"),
    rule("slack_token", "xapp-", r"xapp-[0-9]-[A-Za-z0-9-]{20,250}"),
    rule(
        "slack_webhook", "hooks.slack.com", r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/+]{30,90}"
    ),
    rule("stripe_key", "_live_", r"(?:sk|rk)_live_[A-Za-z0-9]{16,250}"),
    rule("stripe_key", "_test_", r"(?:sk|rk)_test_[A-Za-z0-9]{16,250}"),
    rule("stripe_webhook", "whsec_", r"whsec_[A-Za-z0-9+/]{24,64}"),
    rule("google_api_key", "AIza", r"AIza[A-Za-z0-9_\-]{35}"),
    rule("google_oauth", "GOCSPX-", r"GOCSPX-[A-Za-z0-9_\-]{28}"),
    rule("google_oauth", "ya29.", r"ya29\.[A-Za-z0-9_\-]{20,1000}"),
    rule("anthropic_key", "sk-ant-", r"sk-ant-[a-z0-9]{2,12}-[A-Za-z0-9_\-]{24,200}"),
    rule("openai_key", "sk-", r"sk-(?:proj-|svcacct-|admin-|None-)[A-Za-z0-9_\-]{20,250}"),
    rule("openai_key", "sk-", r"sk-[A-Za-z0-9]{32,64}"),
    rule("openrouter_key", "sk-or-", r"sk-or-v1-[0-9a-f]{64}"),
    rule("huggingface_token", "hf_", r"hf_[A-Za-z0-9]{34,37}"),
    rule("groq_key", "gsk_", r"gsk_[A-Za-z0-9]{48,60}"),
    rule("replicate_token", "r8_", r"r8_[A-Za-z0-9]{37,40}"),
    rule("xai_key", "xai-", r"xai-[A-Za-z0-9]{70,90}"),
    rule("perplexity_key", "pplx-", r"pplx-[A-Za-z0-9]{40,60}"),
    rule("npm_token", "npm_", r"npm_[A-Za-z0-9]{36}"),
    rule("pypi_token", "pypi-", r"pypi-AgE[A-Za-z0-9_\-]{50,500}"),
    rule("docker_token", "dckr_", r"dckr_(?:pat|oat)_[A-Za-z0-9_\-]{24,40}"),
    rule(
        "jwt",
        "eyJ",
        r"eyJ[A-Za-z0-9_\-]{8,1000}+\.[A-Za-z0-9_\-]{8,2000}+\.[A-Za-z0-9_\-]{16,1000}",
        cost=8,
    ),
    rule("sendgrid_key", "SG.", r"SG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{16,64}"),
    rule("twilio_key", "SK", r"SK[0-9a-f]{32}"),
    rule("mailgun_key", "key-", r"key-[0-9a-f]{32}"),
    rule("mailchimp_key", "-us", r"[0-9a-f]{32}-us[0-9]{1,2}"),
    rule("telegram_token", ":AA", r"[0-9]{8,10}:AA[A-Za-z0-9_\-]{33}"),
    rule(
        "discord_webhook",
        "/api/webhooks/",
        r"discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_\-]{60,72}",
    ),
    rule("digitalocean_token", "_v1_", r"do[opr]_v1_[0-9a-f]{64}"),
    rule("shopify_token", "shp", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    rule("square_token", "sq0", r"sq0(?:atp|csp)-[A-Za-z0-9_\-]{22,60}"),
    *(rule("vault_token", f"hv{kind}.", rf"hv{kind}\.[A-Za-z0-9_\-]{{24,300}}") for kind in "sbr"),
    rule("terraform_token", ".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_\-]{60,70}"),
    rule("databricks_token", "dapi", r"dapi[0-9a-f]{32}(?:-[0-9])?"),
    rule("grafana_token", "glsa_", r"glsa_[A-Za-z0-9]{32}_[0-9A-Fa-f]{8}"),
    rule("newrelic_key", "NRAK-", r"NRAK-[A-Z0-9]{27}"),
    SecretRule(
        "azure_storage_key", "AccountKey=", re.compile(r"AccountKey=([A-Za-z0-9+/]{86}==)"), leads=True
    ),
    rule("linear_key", "lin_api_", r"lin_api_[A-Za-z0-9]{40}"),
    rule("notion_token", "ntn_", r"ntn_[A-Za-z0-9]{40,50}"),
    rule("postman_key", "PMAK-", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    rule("doppler_token", "dp.", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9.]{40,60}"),
    rule("planetscale_token", "pscale_", r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.\-]{32,64}"),
    rule("supabase_token", "sbp_", r"sbp_[0-9a-f]{40}"),
    rule("atlassian_token", "ATATT3", r"ATATT3[A-Za-z0-9_\-=]{100,250}"),
    rule("age_key", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    rule("bartizan_key", "bzk_", r"bzk_[A-Za-z0-9_\-]{20,128}"),
    SecretRule(
        "connection_string",
        "://",
        re.compile(
            r"(?<![A-Za-z0-9])(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?|mssql|sqlserver|clickhouse"
            r"|cockroachdb|ftp|smtps?|https?)(?:\+[a-z0-9]{2,16})?://[^\s:/@\"'<>]{0,64}:(?![*\[<{$])[^\s/@\"'<>{}$]{3,128}@[A-Za-z0-9.\-]{1,128}"
        ),
    ),
    SecretRule(
        "bearer_token",
        "earer",
        re.compile(
            r"(?i:(?<![A-Za-z])bearer[ \t]{1,3})((?=[A-Za-z._~+/\-]{0,64}[0-9])[A-Za-z0-9._~+/\-]{20,512}={0,2})"
        ),
        opening=re.compile(r"[bB]\Z"),
        touching=False,
    ),
)
