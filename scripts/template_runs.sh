#!/usr/bin/env bash
# The runs by template of docs/results.md: scripts/template_runs.sh DATA OUT
# DATA holds sst2/, trec/ and sick/; the backbone is the encoder of the extra 'demo'.
set -euo pipefail

data=$1
out=$2
backbone=$(python -c "from skn.stages.demo import demo_backbone; print(demo_backbone())")

by_template() { # NAME TEMPLATE WORDS, then where the data is
    local name=$1 template=$2 words=$3
    shift 3
    skn train --backbone "$backbone" "$@" --method template --template "$template" --verbalizer "$words" --out "$out/$name"
    skn probe --run "$out/$name" --at mask,mean
    skn select --run "$out/$name"
    skn mask --run "$out/$name" --kind zero --fraction 0.05,0.1,0.2 --controls 10
    skn prune --run "$out/$name" --count 384 --stock
    skn evaluate --run "$out/$name"
}

by_template sst2 "{text} It was {mask}." "terrible,great" --task sst2 --data "$data/sst2"
by_template trec "{text} The question asks about a {mask}." "description,entity,abbreviation,person,place,number" --data "$data/trec"
by_template sick "{text} ? {mask} , {pair}" "no,maybe,yes" --data "$data/sick" --text-column premise --pair-column hypothesis
