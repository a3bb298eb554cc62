#!/usr/bin/env bash
# SQuAD as passage retrieval: BM25, flat MiniLM, OPQ, JPQ and their hybrid, all through Pyserini's own command lines.
#
#   eval/experiments/squad.sh COLLECTION ENCODER OUTPUT [training flags ...]
#
# COLLECTION holds corpus.jsonl, queries.{train,val,test}.tsv, qrels.{train,val,test}.txt and minilm-flat/ (what
# `python -m pyserini.encode … output --to-faiss` wrote); ENCODER is all-MiniLM-L6-v2, name or folder.
# Steps whose output exists are skipped. Flags after OUTPUT replace those of the published table, set below.
# ALPHA, the weight of BM25 in the hybrid, was chosen on the val questions among 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12.
set -euo pipefail
collection=$(realpath "$1") encoder=$2 output=$3
shift 3
[ $# -gt 0 ] || set -- --epochs 0.5 --encoder-lr 2e-5 --eval-steps 222
mkdir -p "$output"
cd "$output"

once() {  # output, command ...: run the command unless its output exists
    local made=$1
    shift
    [ -e "$made" ] && return
    echo "+ $*" >&2
    "$@" || { rm -rf "$made"; exit 1; }  # what is there is complete
}

topics="$collection/queries.test.tsv"
many=(--topics "$topics" --hits 100 --batch-size 64 --threads 2)
start=(--embeddings "$collection/minilm-flat" --encoder "$encoder" --m 48)

mkdir -p corpus
[ -e corpus/corpus.jsonl ] || ln -s "$collection/corpus.jsonl" corpus/corpus.jsonl
once lucene python -m pyserini.index.lucene --collection JsonCollection --input corpus --index lucene \
    --generator DefaultLuceneDocumentGenerator --threads 2
once bm25.txt python -m pyserini.search.lucene --bm25 --index lucene "${many[@]}" --output bm25.txt

once flat python -m jpq_pyserini.train "${start[@]}" --epochs 0 --no-compress --scoring flat --negatives-from flat \
    --output flat
once flat.txt python -m pyserini.search.faiss --encoder jpq --index flat "${many[@]}" --output flat.txt
once opq48 python -m jpq_pyserini.train "${start[@]}" --epochs 0 --output opq48
once opq.txt python -m pyserini.search.faiss --encoder jpq --index opq48 "${many[@]}" --output opq.txt
once jpq48 python -m jpq_pyserini.train "${start[@]}" --output jpq48 --resume "$@" \
    --topics "$collection/queries.train.tsv" --qrels "$collection/qrels.train.txt" \
    --dev-topics "$collection/queries.val.tsv" --dev-qrels "$collection/qrels.val.txt"
once jpq.txt python -m pyserini.search.faiss --encoder jpq --index jpq48 "${many[@]}" --output jpq.txt
once hybrid.txt python -m pyserini.search.hybrid dense --index jpq48 --encoder jpq sparse --index lucene \
    fusion --alpha "${ALPHA:-0.05}" --hits 100 run --topics "$topics" --hits 100 --batch-size 64 --threads 2 \
    --output hybrid.txt

python -m jpq_pyserini.eval.compare --qrels "$collection/qrels.test.txt" --measures RR@10 nDCG@10 R@100 \
    --run BM25=bm25.txt --run flat=flat.txt --run OPQ=opq.txt --run JPQ=jpq.txt --run hybrid=hybrid.txt \
    --against JPQ --format markdown
