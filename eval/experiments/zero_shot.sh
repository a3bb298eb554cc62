#!/usr/bin/env bash
# A JPQ index trained on one collection, applied to others without training there, all through Pyserini's own commands.
#
#   eval/experiments/zero_shot.sh ENCODER OUTPUT TRAINED COLLECTION ...
#
# ENCODER is all-MiniLM-L6-v2, name or folder; TRAINED is a folder with jpq48 and opq48, as eval/experiments/squad.sh
# leaves it. Each COLLECTION holds queries.test.tsv, qrels.test.txt and minilm-flat/ (what `python -m pyserini.encode …
# output --to-faiss` wrote). For each, four indexes are searched:
#
#   flat       the uncompressed embeddings
#   OPQ        codec learnt on this collection's documents, encoder as it was
#   OPQ-there  codec learnt on the documents TRAINED is of, encoder as it was
#   JPQ-there  codec and query encoder trained there
#
# Steps whose output exists are skipped; OUTPUT/<collection>.md and .json are the results.
set -euo pipefail
encoder=$1 output=$2 trained=$(realpath "$3")
shift 3
collections=()
for each in "$@"; do collections+=("$(realpath "$each")"); done
mkdir -p "$output"
cd "$output"

once() {  # output, command ...: run the command unless its output exists
    local made=$1
    shift
    [ -e "$made" ] && return
    echo "+ $*" >&2
    "$@" || { rm -rf "$made"; exit 1; }  # what is there is complete
}

for collection in "${collections[@]}"; do
    name=$(basename "$collection")
    mkdir -p "$name"
    flat="$collection/minilm-flat"
    once "$name/flat" python -m jpq_pyserini.train --embeddings "$flat" --encoder "$encoder" --epochs 0 \
        --no-compress --scoring flat --negatives-from flat --output "$name/flat"
    once "$name/OPQ" python -m jpq_pyserini.train --embeddings "$flat" --encoder "$encoder" --epochs 0 --m 48 \
        --output "$name/OPQ"
    for kind in OPQ JPQ; do
        once "$name/$kind-there" python -m jpq_pyserini.index build --like "$trained/${kind,,}48" \
            --embeddings "$flat" --output "$name/$kind-there"
    done
    runs=()
    for system in flat OPQ OPQ-there JPQ-there; do
        once "$name/$system.txt" python -m pyserini.search.faiss --encoder jpq --index "$name/$system" \
            --topics "$collection/queries.test.tsv" --output "$name/$system.txt" --hits 100 --batch-size 64 --threads 2
        runs+=(--run "$system=$name/$system.txt")
    done
    for format in markdown json; do
        python -m jpq_pyserini.eval.compare --qrels "$collection/qrels.test.txt" --measures nDCG@10 RR@10 R@100 \
            "${runs[@]}" --against OPQ --format "$format" --output "$name.${format/markdown/md}"
    done
    echo "## $name"
    cat "$name.md"
done
