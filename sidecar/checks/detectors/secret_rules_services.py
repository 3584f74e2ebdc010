"""More forms of secrets: one line per format of a service, for detectors/secrets.py. See secret_rules.py.

Sources: the services' own documentation and GitHub's list of supported secret-scanning patterns.
"""

from __future__ import annotations

import re
from typing import Final

from sidecar.checks.detectors.secret_rule import SecretRule, rule

_UUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_TILDE: Final = re.compile(r"(?<![A-Za-z0-9_~.\-])[A-Za-z0-9_~.\-]")

SERVICES: Final[tuple[SecretRule, ...]] = (
    rule("onepassword_token", "ops_eyJ", r"ops_eyJ[A-Za-z0-9+/=_\-]{200,2000}"),
    rule(
        "onepassword_key",
        "A3-",
        r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}",
    ),
    rule("adafruit_key", "aio_", r"aio_[A-Za-z0-9]{28}"),
    rule("airtable_token", "pat", r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}", cost=0),
    rule("alibaba_key", "LTAI", r"LTAI[A-Za-z0-9]{12,20}"),
    rule("amazon_oauth", "amzn1.oa2-cs.v1.", r"amzn1\.oa2-cs\.v1\.[0-9a-f]{64}"),
    rule("amazon_mws", "amzn.mws.", rf"amzn\.mws\.{_UUID}"),
    rule("artifactory_key", "AKCp", r"AKCp[A-Za-z0-9]{69}"),
    rule("artifactory_token", "cmVmd", r"cmVmd[A-Za-z0-9]{59}"),
    rule("atlassian_token", "ATCTT3", r"ATCTT3[A-Za-z0-9_\-=]{100,250}"),
    rule("aws_bedrock_key", "ABSK", r"ABSK[A-Za-z0-9+/]{100,270}={0,2}"),
    SecretRule(
        "azure_client_secret",
        "Q~",
        re.compile(
            r"(?<![A-Za-z0-9_~.\-])[A-Za-z0-9_~.\-]{3}[0-9]Q~[A-Za-z0-9_~.\-]{31,34}(?![A-Za-z0-9_~])"
        ),
        opening=_TILDE,
        touching=False,
    ),
    rule("bitbucket_password", "ATBB", r"ATBB[A-Za-z0-9]{32}"),
    rule("brevo_key", "xkeysib-", r"xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}"),
    rule("brevo_key", "xsmtpsib-", r"xsmtpsib-[0-9a-f]{64}-[A-Za-z0-9]{16}"),
    rule("buildkite_token", "bkua_", r"bkua_[0-9a-f]{40}"),
    rule("cerebras_key", "csk-", r"csk-[a-z0-9]{48}"),
    rule("circleci_token", "CCIPAT_", r"CCIPAT_[A-Za-z0-9]{22}_[0-9a-f]{40}"),
    rule("clickhouse_key", "4b1d", r"4b1d[A-Za-z0-9]{38}"),
    rule("clojars_token", "CLOJARS_", r"CLOJARS_[a-z0-9]{60}"),
    rule("cloudflare_origin_key", "v1.0-", r"v1\.0-[0-9a-f]{24}-[0-9a-f]{146}"),
    rule("contentful_token", "CFPAT-", r"CFPAT-[A-Za-z0-9_\-]{43}"),
    rule("databento_key", "db-", r"db-[A-Za-z0-9]{29}"),
    rule("defined_key", "dnkey-", r"dnkey-[a-z0-9=_\-]{26}-[a-z0-9=_\-]{52}"),
    rule("dropbox_token", "sl.", r"sl\.[A-Za-z0-9_\-]{130,200}"),
    rule("duffel_token", "duffel_", r"duffel_(?:test|live)_[A-Za-z0-9_\-=]{43}"),
    rule("dynatrace_token", "dt0", r"dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}"),
    rule("e2b_key", "e2b_", r"e2b_[0-9a-f]{40}"),
    rule("easypost_key", "EZ", r"EZ[AT]K[A-Za-z0-9]{54}"),
    rule("elevenlabs_key", "sk_", r"sk_[0-9a-f]{48}"),
    rule("facebook_token", "EAA", r"EAA[A-Za-z0-9]{80,400}"),
    rule("figma_token", "figd_", r"figd_[A-Za-z0-9_\-]{40,60}"),
    rule("firecrawl_key", "fc-", r"fc-[0-9a-f]{32}"),
    rule("fireworks_key", "fw_", r"fw_[A-Za-z0-9]{22,24}"),
    rule("flutterwave_key", "FLWSECK", r"FLWSECK(?:_TEST-[0-9a-h]{12}|-[0-9a-z]{32}-X)"),
    rule("fly_token", "fo1_", r"fo1_[A-Za-z0-9_\-]{43}"),
    rule("fly_token", "fm", r"fm[12][ar]?_[A-Za-z0-9+/=]{100,600}"),
    rule("frameio_token", "fio-u-", r"fio-u-[A-Za-z0-9\-_=]{64}"),
    rule("grafana_token", "glc_", r"glc_eyJ[A-Za-z0-9+/=]{32,400}"),
    rule("harness_key", "pat.", r"pat\.[A-Za-z0-9_\-]{22}\.[0-9a-f]{24}\.[A-Za-z0-9]{20}"),
    rule("heroku_key", "HRKU-", r"HRKU-AA[A-Za-z0-9_\-]{58}"),
    rule("hubspot_token", "pat-", rf"pat-(?:na|eu|ap)[0-9]-{_UUID}"),
    rule("infracost_key", "ico-", r"ico-[A-Za-z0-9]{32}"),
    rule("intra42_key", "s-s4t2", r"s-s4t2(?:ud|af)-[0-9a-f]{64}"),
    rule("jina_key", "jina_", r"jina_[A-Za-z0-9_\-]{58,70}"),
    rule("langfuse_key", "sk-lf-", rf"sk-lf-{_UUID}"),
    rule("langsmith_key", "lsv2_", r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}"),
    rule("launchdarkly_key", "api-", rf"api-{_UUID}"),
    rule("launchdarkly_key", "sdk-", rf"sdk-{_UUID}"),
    rule("lob_key", "live_", r"live_(?:pub_)?[0-9a-f]{31,35}"),
    rule("mailersend_key", "mlsn.", r"mlsn\.[0-9a-f]{64}"),
    rule("mapbox_token", "sk.eyJ", r"sk\.eyJ[A-Za-z0-9_\-]{60,100}\.[A-Za-z0-9_\-]{20,24}"),
    rule("maxmind_key", "_mmk", r"[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk", touching=False),
    rule("netlify_token", "nfp_", r"nfp_[A-Za-z0-9]{36}"),
    rule("newrelic_key", "NRII-", r"NRII-[A-Za-z0-9\-]{32}"),
    rule("notion_token", "secret_", r"secret_[A-Za-z0-9]{43}"),
    rule("nuget_key", "oy2", r"oy2[a-z0-9]{43}"),
    rule("nvidia_key", "nvapi-", r"nvapi-[A-Za-z0-9_\-]{60,70}"),
    rule("octopus_key", "API-", r"API-[A-Z0-9]{26}"),
    rule("openshift_token", "sha256~", r"sha256~[A-Za-z0-9_\-]{43}"),
    rule(
        "paypal_token", "access_token$", r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}"
    ),
    rule("pinecone_key", "pcsk_", r"pcsk_[A-Za-z0-9_]{50,80}"),
    rule("plaid_token", "access-", rf"access-(?:sandbox|development|production)-{_UUID}"),
    rule("posthog_key", "phx_", r"phx_[A-Za-z0-9_]{43,50}"),
    rule("prefect_key", "pnu_", r"pnu_[A-Za-z0-9]{36}"),
    rule("pulumi_token", "pul-", r"pul-[0-9a-f]{40}"),
    rule("readme_key", "rdme_", r"rdme_[a-z0-9]{70}"),
    rule("resend_key", "re_", r"re_[A-Za-z0-9]{8}_[A-Za-z0-9]{24}", cost=0),
    rule("rubygems_key", "rubygems_", r"rubygems_[0-9a-f]{48}"),
    rule("scalingo_token", "tk-us-", r"tk-us-[A-Za-z0-9_\-]{48}"),
    rule("scaleway_key", "SCW", r"SCW[A-Z0-9]{17}"),
    rule("sentry_token", "sntrys_", r"sntrys_eyJ[A-Za-z0-9+/=_\-]{80,500}"),
    rule("sentry_token", "sntryu_", r"sntryu_[0-9a-f]{64}"),
    rule("settlemint_token", "sm_", r"sm_(?:aat|pat|sat)_[A-Za-z0-9]{16}"),
    rule("shippo_token", "shippo_", r"shippo_(?:live|test)_[0-9a-f]{40}"),
    rule("sonarqube_token", "sq", r"sq[apu]_[0-9a-f]{40}"),
    rule("sourcegraph_token", "sgp_", r"sgp_(?:(?:local|[0-9A-Fa-f]{16})_)?[0-9A-Fa-f]{40}"),
    rule("tailscale_key", "tskey-", r"tskey-[a-z]{3,12}-[A-Za-z0-9]{8,24}-[A-Za-z0-9]{16,40}"),
    rule("tavily_key", "tvly-", r"tvly-(?:dev-|prod-)?[A-Za-z0-9]{32}"),
    rule(
        "teams_webhook",
        ".webhook.office.com/",
        rf"[a-z0-9]{{1,40}}\.webhook\.office\.com/webhookb2/{_UUID}@{_UUID}/IncomingWebhook/[0-9a-f]{{32}}/{_UUID}",
    ),
    rule("trello_token", "ATTA", r"ATTA[0-9a-f]{64}"),
    rule("typeform_token", "tfp_", r"tfp_[A-Za-z0-9_.=\-]{59}"),
    rule("vercel_token", "vc", r"vc[pkiar]_[A-Za-z0-9]{24,60}"),
    rule("voyage_key", "pa-", r"pa-[A-Za-z0-9_\-]{43}"),
    rule("yandex_key", "AQVN", r"AQVN[A-Za-z0-9_\-]{35,38}"),
    rule(
        "zapier_webhook", "hooks.zapier.com/", r"hooks\.zapier\.com/hooks/catch/[0-9]{4,10}/[A-Za-z0-9]{5,12}"
    ),
)
