# shellcheck shell=bash
# Debian keeps PostgreSQL's own programs in a folder per version, and servers in
# /usr/sbin, which is not on everyone's PATH.
for postgres_bin in /usr/lib/postgresql/*/bin; do PATH=$postgres_bin:$PATH; done
PATH=$PATH:/usr/sbin
