"""The forms of secrets that detectors/secrets.py knows: a table, one line per provider format.

`hint` is a literal that every match contains, so that text without it costs one substring search. If the pattern has a
group, the group is the secret and what is before it only announces it. No pattern spans white space inside the secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SecretRule:
    """One format."""

    kind: str
    hint: str
    pattern: re.Pattern[str]
    leads: bool = False
    """Whether matches begin with the hint, so that only its occurrences need a look."""
    opening: re.Pattern[str] = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]")
    """Where else they may begin."""
    touching: bool = True
    """Whether nothing but letters, digits, dots and plus signs stands between a match's begin and the hint."""
    cost: int = 1
    """How long a look may take, compared with others."""


def _rule(kind: str, hint: str, body: str, *, after: str = r"(?![A-Za-z0-9])", cost: int = 1) -> SecretRule:
    leads = body.replace("\\", "").startswith(hint)
    return SecretRule(kind, hint, re.compile(rf"(?<![A-Za-z0-9]){body}{after}"), leads, cost=cost)


RULES: tuple[SecretRule, ...] = (
    _rule("aws_access_key", "AKIA", r"AKIA[A-Z0-9]{16}"),
    _rule("aws_access_key", "ASIA", r"ASIA[A-Z0-9]{16}"),
    SecretRule(
        "aws_secret_key",
        "ecret",
        re.compile(r"(?i:aws.{0,12}secret.{0,20}?[=:]\s{0,3}[\"']?)([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"),
        opening=re.compile(r"(?i:aws)"),
        touching=False,
    ),
    *(_rule("github_token", f"gh{kind}_", rf"gh{kind}_[A-Za-z0-9]{{36,255}}") for kind in "pousr"),
    _rule("github_token", "github_pat_", r"github_pat_[A-Za-z0-9_]{22,255}"),
    *(
        _rule("gitlab_token", f"gl{kind}-", rf"gl{kind}-[A-Za-z0-9_\-.]{{20,64}}")
        for kind in ("pat", "dt", "rt", "cbt", "ptt", "ft", "imt", "agent", "soat", "ffct")
    ),
    _rule("slack_token", "xox", r"xox[abeoprs]-[A-Za-z0-9-]{10,250}"),
    _rule("slack_token", "xapp-", r"xapp-[0-9]-[A-Za-z0-9-]{20,250}"),
    _rule(
        "slack_webhook", "hooks.slack.com", r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/+]{30,90}"
    ),
    _rule("stripe_key", "_live_", r"(?:sk|rk)_live_[A-Za-z0-9]{16,250}"),
    _rule("stripe_key", "_test_", r"(?:sk|rk)_test_[A-Za-z0-9]{16,250}"),
    _rule("stripe_webhook", "whsec_", r"whsec_[A-Za-z0-9+/]{24,64}"),
    _rule("google_api_key", "AIza", r"AIza[A-Za-z0-9_\-]{35}"),
    _rule("google_oauth", "GOCSPX-", r"GOCSPX-[A-Za-z0-9_\-]{28}"),
    _rule("google_oauth", "ya29.", r"ya29\.[A-Za-z0-9_\-]{20,1000}"),
    _rule("anthropic_key", "sk-ant-", r"sk-ant-[a-z0-9]{2,12}-[A-Za-z0-9_\-]{24,200}"),
    _rule("openai_key", "sk-", r"sk-(?:proj-|svcacct-|admin-|None-)[A-Za-z0-9_\-]{20,250}"),
    _rule("openai_key", "sk-", r"sk-[A-Za-z0-9]{32,64}"),
    _rule("openrouter_key", "sk-or-", r"sk-or-v1-[0-9a-f]{64}"),
    _rule("huggingface_token", "hf_", r"hf_[A-Za-z0-9]{30,64}"),
    _rule("groq_key", "gsk_", r"gsk_[A-Za-z0-9]{48,60}"),
    _rule("replicate_token", "r8_", r"r8_[A-Za-z0-9]{37,40}"),
    _rule("xai_key", "xai-", r"xai-[A-Za-z0-9]{70,90}"),
    _rule("perplexity_key", "pplx-", r"pplx-[A-Za-z0-9]{40,60}"),
    _rule("npm_token", "npm_", r"npm_[A-Za-z0-9]{36}"),
    _rule("pypi_token", "pypi-", r"pypi-AgE[A-Za-z0-9_\-]{50,500}"),
    _rule("docker_token", "dckr_", r"dckr_(?:pat|oat)_[A-Za-z0-9_\-]{24,40}"),
    _rule(
        "jwt",
        "eyJ",
        r"eyJ[A-Za-z0-9_\-]{8,1000}+\.[A-Za-z0-9_\-]{8,2000}+\.[A-Za-z0-9_\-]{16,1000}",
        cost=8,
    ),
    _rule("sendgrid_key", "SG.", r"SG\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{16,64}"),
    _rule("twilio_key", "SK", r"SK[0-9a-f]{32}"),
    _rule("mailgun_key", "key-", r"key-[0-9a-f]{32}"),
    _rule("mailchimp_key", "-us", r"[0-9a-f]{32}-us[0-9]{1,2}"),
    _rule("telegram_token", ":AA", r"[0-9]{8,10}:AA[A-Za-z0-9_\-]{33}"),
    _rule(
        "discord_webhook",
        "/api/webhooks/",
        r"discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_\-]{60,72}",
    ),
    _rule("digitalocean_token", "_v1_", r"do[opr]_v1_[0-9a-f]{64}"),
    _rule("shopify_token", "shp", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    _rule("square_token", "sq0", r"sq0(?:atp|csp)-[A-Za-z0-9_\-]{22,60}"),
    *(_rule("vault_token", f"hv{kind}.", rf"hv{kind}\.[A-Za-z0-9_\-]{{24,300}}") for kind in "sbr"),
    _rule("terraform_token", ".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_\-]{60,70}"),
    _rule("databricks_token", "dapi", r"dapi[0-9a-f]{32}(?:-[0-9])?"),
    _rule("grafana_token", "glsa_", r"glsa_[A-Za-z0-9]{32}_[0-9A-Fa-f]{8}"),
    _rule("newrelic_key", "NRAK-", r"NRAK-[A-Z0-9]{27}"),
    SecretRule(
        "azure_storage_key", "AccountKey=", re.compile(r"AccountKey=([A-Za-z0-9+/]{86}==)"), leads=True
    ),
    _rule("linear_key", "lin_api_", r"lin_api_[A-Za-z0-9]{40}"),
    _rule("notion_token", "ntn_", r"ntn_[A-Za-z0-9]{40,50}"),
    _rule("postman_key", "PMAK-", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    _rule("doppler_token", "dp.", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9.]{40,60}"),
    _rule("planetscale_token", "pscale_", r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.\-]{32,64}"),
    _rule("supabase_token", "sbp_", r"sbp_[0-9a-f]{40}"),
    _rule("atlassian_token", "ATATT3", r"ATATT3[A-Za-z0-9_\-=]{100,250}"),
    _rule("age_key", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    _rule("bartizan_key", "bzk_", r"bzk_[A-Za-z0-9_\-]{20,128}"),
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
