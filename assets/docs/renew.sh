#!/bin/sh
# Renews the vendored bundles of the documentation pages: `assets/docs/renew.sh`, with npm and gzip.
# To move to other versions, change them here, run it, look at the three pages, and commit what changed.
set -eu

cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# renew <package> <version> <licence file>: unpacks the package under $folder/<package>.
renew() {
    (cd "$folder" && npm pack --silent "$1@$2" >/dev/null && mkdir "$1" && tar -xzf "$1-$2.tgz" -C "$1" --strip-components 1)
    cp "$folder/$1/$3" "LICENSE-$1.txt"
}

# pack <package> <file> <name here>: no name and no time in the archive, so that the same input gives the same bytes.
pack() {
    # What would ask for a source map or ask another host is taken out; the pages' policy would stop it anyway.
    sed -e 's|^//# sourceMappingURL=.*$||' -e 's|^/\*# sourceMappingURL=.*\*/$||' \
        -e 's|https://cdn.redoc.ly/redoc/logo-mini.svg|data:,|g' "$folder/$1/$2" | gzip -9n >"$3.gz"
}

renew swagger-ui-dist 5.35.0 LICENSE
cp "$folder/swagger-ui-dist/NOTICE" NOTICE-swagger-ui-dist.txt
pack swagger-ui-dist swagger-ui-bundle.js swagger-ui.js
cp "$folder/swagger-ui-dist/swagger-ui-bundle.js.LICENSE.txt" THIRD-PARTY-swagger-ui-dist.txt
pack swagger-ui-dist swagger-ui.css swagger-ui.css

renew redoc 2.5.4 LICENSE
cp "$folder/redoc/bundles/redoc.standalone.js.LICENSE.txt" THIRD-PARTY-redoc.txt
pack redoc bundles/redoc.standalone.js redoc.js

renew rapidoc 9.3.8 LICENSE.txt
pack rapidoc dist/rapidoc-min.js rapidoc.js
cp "$folder/rapidoc/dist/rapidoc-min.js.LICENSE.txt" THIRD-PARTY-rapidoc.txt
