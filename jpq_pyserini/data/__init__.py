"""What Pyserini reads and writes, read without it: topics, qrels, collections, runs, docids, flat Faiss folders."""
