package main

import (
	"bytes"
	_ "embed"
)

//go:embed corpus.jsonl
var corpusFile []byte

// corpus returns the documents of corpus.jsonl, which enginetest.Corpus makes.
func corpus() [][]byte {
	return bytes.Split(bytes.TrimSpace(corpusFile), []byte("\n"))
}
