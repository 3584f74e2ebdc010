#!/bin/sh
# The rules of the OWASP Core Rule Set, out of Debian's package: crs.sh SHA256 FOLDER. Debian keeps only its newest
# package, so a new one ends the build here: look at what changed, then name its hash (build argument CRS_SHA256).
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get update -qq
apt-get -qq -o APT::Sandbox::User=root download modsecurity-crs
echo "$1  $(echo ./*.deb)" | sha256sum --check --quiet
dpkg-deb --extract ./*.deb "$work/files"
mkdir -p "$2/usr/share/doc/modsecurity-crs"
cp -r "$work/files/usr/share/modsecurity-crs" "$2/usr/share/"
cp "$work/files/usr/share/doc/modsecurity-crs/copyright" "$2/usr/share/doc/modsecurity-crs/"
