"""The files that the authors of JPQ released, converted to index directories."""
