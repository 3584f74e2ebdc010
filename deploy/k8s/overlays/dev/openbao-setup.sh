#!/bin/sh
# What docs/operations.md has an operator do once, against a new development server. Writes the token to $1.
set -eu
bao secrets enable -path=bartizan-kv -version=2 kv
for _ in 1 2 3 4 5 6 7 8 9 10; do # a new mount of version 2 is upgraded in the background
  bao write bartizan-kv/config cas_required=true max_versions=8 && break
  sleep 1
done
bao secrets enable -path=bartizan-pki -max-lease-ttl=87600h pki
bao write bartizan-pki/root/generate/internal common_name="Bartizan laptop root" \
  key_type=ec key_bits=256 ttl=87600h max_path_length=1 >/dev/null
bao secrets enable -path=bartizan-transit transit
bao write -f bartizan-transit/keys/bartizan-bundles type=ed25519 >/dev/null
bao policy write bartizan-control-plane - <<'POLICY'
path "bartizan-kv/data/*"                     { capabilities = ["create", "update", "read"] }
path "bartizan-kv/metadata/*"                 { capabilities = ["read", "list"] }
path "bartizan-kv/destroy/*"                  { capabilities = ["update"] }
path "bartizan-pki/root/sign-intermediate"    { capabilities = ["create", "update"] }
path "bartizan-pki/cert/ca"                   { capabilities = ["read"] }
path "bartizan-transit/sign/bartizan-bundles" { capabilities = ["create", "update"] }
path "bartizan-transit/keys/bartizan-bundles" { capabilities = ["read"] }
path "auth/token/lookup-self"                 { capabilities = ["read"] }
path "auth/token/renew-self"                  { capabilities = ["update"] }
POLICY
umask 077
bao token create -orphan -policy=bartizan-control-plane -no-default-policy -period=24h -field=token >"$1.partial"
mv "$1.partial" "$1"
