"""Which end-to-end test fails when a field of the policy language is ignored: the table that a unit test holds complete."""

from __future__ import annotations

from typing import get_args

from bartizan.policy.checks import AnnouncedType, ImageType, NameType, PiiType
from bartizan.policy.engines import Engine

FIELDS = "tests/e2e/fields/test_policy_fields.py::"
ACCESS = "tests/e2e/fields/test_access_fields.py::"
CHECKS = "tests/e2e/fields/test_check_fields.py::"
WAF = "tests/e2e/fields/test_waf_fields.py::"
ENGINE = "tests/e2e/fields/test_engine_fields.py::"
OUTPUT = "tests/e2e/fields/test_output_fields.py::"
PERSONAL = "tests/e2e/fields/test_personal_data_fields.py::"
IMAGE = "tests/e2e/fields/test_image_fields.py::"
CLASSIFIER = "tests/e2e/fields/test_classifier_fields.py::"
NAMES = "tests/e2e/fields/test_name_fields.py::"
GUARD = "tests/e2e/guard/test_guard_envoy.py::"
CHATS = "tests/e2e/guard/test_guard_chats.py::"

_CHECKS = (CHECKS + "test_every_check_does_what_its_action_says",)
_JWT = (ACCESS + "test_tokens_are_judged_by_issuer_audience_and_keys_and_claims_make_the_identity",)
_RULES = (ACCESS + "test_rules_allow_and_deny_and_records_name_them",)
_LIMITS = (ACCESS + "test_requests_are_counted_per_key_tenant_or_sidecar",)
_BODY = (ACCESS + "test_bodies_are_bounded_in_size_and_depth",)
_CREDENTIAL = ("tests/e2e/test_policy_stack.py::test_a_credential_goes_where_the_policy_says",)
_TLS = (FIELDS + "test_the_listener_serves_the_certificate_that_the_policy_names",)
_WHERE = (FIELDS + "test_the_listener_is_where_the_policy_says",)
_MODEL = (FIELDS + "test_rules_see_the_model_as_the_policy_describes_it",)
_PROTOCOL = (FIELDS + "test_the_protocol_decides_what_a_body_is",)
_ROUTES = (FIELDS + "test_only_declared_routes_and_methods_are_served",)
_DECLARED = (FIELDS + "test_declared_fields_are_inspected_and_others_not",)
_WHO = (ACCESS + "test_only_listed_tenants_and_keys_of_the_named_set_get_in",)
_SHADOW = (FIELDS + "test_shadow_records_and_enforce_refuses",)
_NAMED = (FIELDS + "test_the_document_names_the_policy_everywhere",)
_LINKS = (OUTPUT + "test_links_to_hosts_that_are_not_listed_do_what_the_action_says",)
_MARKUP = (OUTPUT + "test_markup_does_what_the_action_says_in_requests_and_answers",)
_TOOLS = (OUTPUT + "test_only_listed_tools_are_called_and_only_with_fitting_arguments",)
_STRUCTURED = (OUTPUT + "test_an_answers_text_fits_the_schema_or_is_withheld",)
_WAF_MODE = (WAF + "test_attacks_outside_of_prompts_are_blocked_or_detected_by_rule",)
_WAF_PROMPTS = (WAF + "test_prompts_are_skipped_unless_told_otherwise",)
_EXTRACTION = (PERSONAL + "test_many_different_queries_of_one_caller_are_flagged_or_denied",)
_COARSE = (OUTPUT + "test_only_the_highest_scores_and_those_of_listed_labels_remain",)

_PICTURES = (IMAGE + "test_pictures_are_bounded_in_bytes_pixels_frames_and_number",)

PROOFS: dict[str, tuple[str, ...]] = {
    "metadata.name": _NAMED,
    "metadata.namespace": _NAMED,
    "spec.selector.matchLabels": (
        "tests/e2e/test_policy_stack.py::test_a_policy_reaches_only_whom_it_selects",
    ),
    "spec.listener.address": _WHERE,
    "spec.listener.port": _WHERE,
    "spec.listener.tls=none": _TLS,
    "spec.listener.tls.cert": _TLS,
    "spec.listener.tls.key": _TLS,
    "spec.model.name": _MODEL,
    "spec.model.labels": _MODEL,
    "spec.model.port": (FIELDS + "test_requests_go_to_the_models_port",),
    "spec.model.protocol=json_fields": _PROTOCOL,
    "spec.model.protocol=opaque": _PROTOCOL,
    "spec.model.protocol=openai": _PROTOCOL,
    "spec.model.protocol=anthropic": (
        "tests/e2e/test_anthropic_client.py::test_every_text_of_a_request_is_checked_and_its_other_bytes_stay",
    ),
    **{
        f"spec.model.protocol={name}": (f"tests/e2e/test_protocols.py::test_{name}_is_read_both_ways",)
        for name in ("kserve_v2", "kserve_v1", "mcp", "ollama")
    },
    "spec.model.credential.secret": _CREDENTIAL,
    "spec.model.credential.header": _CREDENTIAL,
    "spec.model.credential.prefix": _CREDENTIAL,
    "spec.routes[].path": _ROUTES,
    **{f"spec.routes[].method={method}": _ROUTES for method in ("GET", "POST", "PUT", "DELETE")},
    **{f"spec.routes[].{name}[]": _DECLARED for name in ("inputText", "outputText", "outputScores")},
    "spec.tenants[]": _WHO,
    "spec.authn.apiKeys.set": _WHO,
    **{f"spec.authn.jwt[].{name}": _JWT for name in ("issuer", "audiences[]", "jwksUri")},
    **{f"spec.authn.jwt[].claims.{name}": _JWT for name in ("tenant", "plan", "region", "subject")},
    **{f"spec.authz[].{name}": _RULES for name in ("name", "allow", "deny")},
    **{f"spec.limits.requests[].per={per}": _LIMITS for per in ("key", "tenant", "sidecar")},
    "spec.limits.requests[].rate": (*_LIMITS, ACCESS + "test_a_rate_refills_its_bucket"),
    "spec.limits.requests[].burst": _LIMITS,
    "spec.limits.body.max": _BODY,
    "spec.limits.body.jsonDepth": _BODY,
    **{
        f"spec.input[].sanitize.strip[]={kind}": _CHECKS for kind in ("zero-width", "bidi", "tags", "control")
    },
    **{f"spec.input[].sanitize.unicode={form}": _CHECKS for form in ("nfkc", "nfc", "none")},
    "spec.input[].promptInjection.rules=default": _CHECKS,
    **{
        f"spec.input[].promptInjection.model={model}": (
            CHECKS + "test_the_injection_model_judges_what_no_rule_knows_unless_it_is_off",
        )
        for model in ("default", "off")
    },
    **{
        f"spec.input[].promptInjection.classifier.{name}": (
            CLASSIFIER + "test_only_the_classifier_that_the_policy_describes_is_taken",
        )
        for name in (
            *("model", "sha256", "tokenizer", "tokenizerSha256", "attackLabels[]", "threshold"),
            *("selfTest.attack", "selfTest.benign"),
        )
    },
    "spec.input[].promptInjection.classifier.askFrom": (
        CLASSIFIER + "test_a_classifier_denies_what_nothing_else_does_where_it_is_asked",
    ),
    "spec.input[].promptInjection.classifier.maxTokens": (
        CLASSIFIER + "test_long_texts_are_read_in_windows_of_so_many_tokens",
    ),
    **{
        f"spec.input[].promptInjection.classifier.onFailure={answer}": (
            CLASSIFIER + "test_a_text_that_was_not_judged_whole_is_denied_or_flagged",
        )
        for answer in ("deny", "flag")
    },
    "spec.input[].promptInjection.action=deny": _CHECKS,
    "spec.input[].promptInjection.action=flag": _CHECKS,
    **{
        f"spec.{side}[].{check}.action={action}": _CHECKS
        for side in ("input", "output")
        for check in ("pii", "secrets")
        for action in ("deny", "redact", "flag")
    },
    **{
        f"spec.{side}[].pii.types[]={kind}": _CHECKS
        for side in ("input", "output")
        for kind in get_args(PiiType)
    },
    **{
        f"spec.{side}[].pii.{leaf}": (
            CHECKS + "test_personal_data_is_masked_or_let_pass_where_the_policy_says_so",
        )
        for side in ("input", "output")
        for leaf in ("allow[]", "replacement=mask", "replacement=placeholder")
    },
    **{
        f"spec.{side}[].pii.{leaf}": (
            PERSONAL + "test_regions_words_and_patterns_decide_what_is_personal_data",
        )
        for side in ("input", "output")
        for leaf in (
            "regions[]",
            "allowPatterns[]",
            *(f"context.{kind}" for kind in get_args(AnnouncedType)),
        )
    },
    **{
        f"spec.{side}[].pii.{leaf}": (
            PERSONAL + "test_pseudonyms_need_their_key_and_follow_it_and_the_tenant",
        )
        for side in ("input", "output")
        for leaf in ("replacement=pseudonym", "key")
    },
    **{
        f"spec.{side}[].pii.{leaf}{kind}": (NAMES + "test_names_are_found_by_type_in_requests_and_answers",)
        for side in ("input", "output")
        for leaf in ("types[]=", "names.model.labels.")
        for kind in get_args(NameType)
    },
    **{
        f"spec.{side}[].pii.names.{leaf}": (NAMES + "test_only_the_model_that_the_policy_describes_is_taken",)
        for side in ("input", "output")
        for leaf in (
            *("model.file", "model.sha256", "model.tokenizer", "model.tokenizerSha256", "threshold"),
            *("selfTest.named", "selfTest.nameless"),
        )
    },
    **{
        f"spec.{side}[].pii.names.model.maxTokens": (NAMES + "test_a_model_reads_so_many_tokens_at_once",)
        for side in ("input", "output")
    },
    **{
        f"spec.{side}[].pii.names.onFailure={answer}": (
            NAMES + "test_a_text_that_was_not_read_whole_is_refused_or_flagged",
        )
        for side in ("input", "output")
        for answer in ("deny", "flag")
    },
    "spec.input[].pii.replacement=token": (
        PERSONAL + "test_tokens_reach_the_model_and_what_they_stand_for_the_client",
        PERSONAL + "test_a_stream_gets_back_what_its_tokens_stand_for_split_anywhere",
    ),
    "spec.output[].canary.tokens[]": _CHECKS,
    "spec.output[].canary.tenants": (PERSONAL + "test_a_canary_says_whose_it_is",),
    **{f"spec.input[].extractionWatch.{name}": _EXTRACTION for name in ("window", "maxQueries", "spread")},
    **{f"spec.input[].extractionWatch.action={action}": _EXTRACTION for action in ("flag", "deny")},
    "spec.output[].canary.action=cut": (
        *_CHECKS,
        CHATS + "test_a_canary_split_over_events_cuts_the_stream_and_stops_the_model",
    ),
    "spec.output[].canary.action=redact": _CHECKS,
    "spec.output[].canary.action=flag": _CHECKS,
    "spec.output[].probabilities.decimals": (
        *_DECLARED,
        CHECKS + "test_scores_are_rounded_to_the_decimals",
    ),
    "spec.output[].probabilities.top": _COARSE,
    "spec.output[].probabilities.labels[]": _COARSE,
    "spec.output[].exfiltration.links[]": _LINKS,
    **{f"spec.output[].exfiltration.action={action}": _LINKS for action in ("redact", "cut", "flag")},
    **{
        f"spec.{side}[].markup.action={action}": _MARKUP
        for side in ("input", "output")
        for action in ("redact", "deny", "flag")
    },
    "spec.output[].tools.allow[]": _TOOLS,
    "spec.output[].tools.schemas": _TOOLS,
    "spec.output[].tools.action=deny": _TOOLS,
    "spec.output[].tools.action=flag": _TOOLS,
    "spec.output[].structured.schema": _STRUCTURED,
    "spec.output[].structured.action=deny": _STRUCTURED,
    "spec.output[].structured.action=flag": _STRUCTURED,
    **{
        f"spec.model.engine={name}": (
            ENGINE + "test_routes_for_administration_and_debugging_are_refused_by_name",
        )
        for name in get_args(Engine)
    },
    **{
        f"spec.model.expose[]={kind}": (
            ENGINE + "test_exposed_routes_are_served_to_authenticated_callers_and_their_bodies_not_read",
        )
        for kind in ("health", "metadata", "metrics")
    },
    **{
        f"spec.model.virtualPatches={switch}": (
            ENGINE + "test_requests_that_known_vulnerabilities_need_are_refused_unless_patches_are_off",
        )
        for switch in ("on", "off")
    },
    **{
        f"spec.input[].parameters.{name}": (
            "tests/e2e/test_protocols.py::test_parameters_are_clamped_refused_or_flagged",
        )
        for name in ("maxTokens", "n", "bestOf", "logprobs", "patternStates", "schemaSize")
    },
    **{
        f"spec.input[].parameters.{name}": (
            "tests/e2e/test_protocols.py::test_ollamas_engine_is_run_as_its_operator_says",
        )
        for name in ("contextTokens", "engineOptions")
    },
    **{
        f"spec.input[].parameters.action={action}": (
            "tests/e2e/test_protocols.py::test_parameters_are_clamped_refused_or_flagged",
        )
        for action in ("clamp", "deny", "flag")
    },
    "spec.model.protocol=image": (IMAGE + "test_a_body_that_is_a_picture_or_a_form_is_read",),
    **{
        f"spec.input[].image.types[]={kind}": (
            IMAGE + "test_only_listed_types_pass_by_what_they_are_not_by_what_they_are_called",
        )
        for kind in get_args(ImageType)
    },
    **{
        f"spec.input[].image.{bound}": _PICTURES
        for bound in ("maxBytes", "maxPixels", "maxFrames", "maxCount")
    },
    "spec.input[].image.reencode": (
        IMAGE + "test_the_model_gets_pictures_written_anew_unless_told_otherwise",
        IMAGE + "test_pictures_of_every_protocol_are_found",
    ),
    "spec.input[].image.remote[]": (IMAGE + "test_pictures_elsewhere_are_refused_but_for_listed_hosts",),
    **{
        f"spec.input[].image.action={action}": (IMAGE + "test_a_flagged_picture_passes_as_it_came",)
        for action in ("deny", "flag")
    },
    "spec.waf.crs.paranoia": (WAF + "test_the_next_paranoia_level_is_recorded_and_never_blocks",),
    "spec.waf.crs.mode=block": _WAF_MODE,
    "spec.waf.crs.mode=detect": _WAF_MODE,
    "spec.waf.crs.promptFields=skip": _WAF_PROMPTS,
    "spec.waf.crs.promptFields=scan": _WAF_PROMPTS,
    "spec.failure.content=closed": (
        CHECKS + "test_what_cannot_be_checked_is_refused",
        GUARD + "test_a_dead_guard_is_503_and_never_a_pass",
    ),
    "spec.telemetry.traceSample": (FIELDS + "test_the_share_of_traced_requests_is_the_policys",),
    "spec.mode=enforce": _SHADOW,
    "spec.mode=shadow": _SHADOW,
}

ENFORCE_NOTHING: dict[str, str] = {
    "apiVersion=bartizan.dev/v1alpha1": "the language's own version: there is one",
    "spec.output[].pii.replacement=token": "refused by validation: nobody would put back what an answer holds",
    "kind=ModelPolicy": "the kind of document: there is one",
}
"""Leaves without a check of their own, and why."""
