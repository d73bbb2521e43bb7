#!/usr/bin/env bash
# Installs the fonts of the paper into .tools/fonts, with their licences. Only files with the digests
# in fonts.sha256 are accepted, so that the paper has the same glyphs on every machine.
# Mathematics is set in New Computer Modern Math, which typst holds itself.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

home=$TOOLS/fonts
pins=$(digest setup/fonts.txt setup/fonts.sha256)

installed() { stamp_is fonts "$pins" && [ -e "$home/Inconsolata.otf" ]; }
installed && exit
lock
installed && exit
say "installing the fonts of the paper"

scratch=$TOOLS/tmp/fonts
fresh=$scratch/fonts
rm -rf "$scratch"
mkdir -p "$fresh"

# Times and Helvetica: TeX Gyre Termes and Heros, GUST Font License.
wheels setup/fonts.txt "$scratch/wheels" --python-version "$WHEEL_PYTHON"
for family in Termes Heros; do
  package=$scratch/wheels/rinoh_typeface_texgyre${family,,}
  cp "$package/texgyre${family,,}"-*.otf "$package/README-TeX-Gyre-$family.txt" \
    "$package/GUST-FONT-LICENSE.txt" "$fresh"
done

# Monospace: Inconsolata 1.010, SIL Open Font License. Debian and Ubuntu have it unchanged since 2009;
# elsewhere it is asked of its author's own site.
pinned() { (cd "$fresh" && grep "  $1\$" "$OLDPWD/setup/fonts.sha256" | sha256sum --check --status); }
from_debian() {
  local root=$1
  cp "$root/usr/share/fonts/truetype/inconsolata/Inconsolata.otf" "$fresh" 2>/dev/null &&
    cp "$root/usr/share/doc/fonts-inconsolata/copyright" "$fresh/OFL-Inconsolata.txt" && pinned Inconsolata.otf
}
from_author() {
  download https://levien.com/type/myfonts/Inconsolata.otf "$fresh/Inconsolata.otf" &&
    echo "Copyright 2006 Raph Levien. SIL Open Font License 1.0, https://openfontlicense.org" \
      >"$fresh/OFL-Inconsolata.txt" && pinned Inconsolata.otf
}
from_debian "" || { apt_unpack fonts-inconsolata "$scratch/debian" && from_debian "$scratch/debian"; } ||
  from_author ||
  fail "cannot get the font Inconsolata 1.010 (from this machine, its package, or its author's site)" \
    "install the package \`fonts-inconsolata\`, then run \`make setup\` again"

# Chinese and Japanese: Droid Sans Fallback, Apache License 2.0, where its Debian package can be had. Elsewhere the report
# names the characters that it cannot show.
if apt_unpack fonts-droid-fallback "$scratch/droid" 2>/dev/null; then
  cp "$scratch/droid/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf" "$fresh"
  cp "$scratch/droid/usr/share/doc/fonts-droid-fallback/copyright" "$fresh/LICENSE-DroidSansFallback.txt"
fi

(cd "$fresh" && sha256sum --check --quiet --ignore-missing "$OLDPWD/setup/fonts.sha256") ||
  fail "the fonts above are not the ones that setup/fonts.sha256 names" \
    "their source has changed; report it, or review the new files and update setup/fonts.sha256"

rm -rf "$home"
mv "$fresh" "$home"
rm -rf "$scratch"
write_stamp fonts "$pins"
