// Command executor is an example of a program that carries actions out, and does
// nothing that the gate has not let go. It takes what an agent hands it:
//
//	POST /run {"action_type": "block_ip", "target": "203.0.113.9", "parameters": {…}, "receipt": "eyJ…"}
//
// The agent has the receipt from the gate's answer. The executor needs no token of
// the gate and asks it nothing but its public keys, once.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"sync"
	"time"

	"github.com/tiergate/tiergate/receipt"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:9090", "address to listen on")
	gate := flag.String("gate", "http://127.0.0.1:8080", "URL of the gate")
	tenant := flag.String("tenant", "default", "whose machines these are")
	flag.Parse()
	keys, err := fetchKeys(*gate)
	if err != nil {
		log.Fatal(err)
	}
	e := &executor{keys: keys, tenant: *tenant, run: func(actionType, target string, _ json.RawMessage) error {
		log.Printf("carrying out %s on %s", actionType, target) // here the firewall is called
		return nil
	}}
	server := &http.Server{Addr: *addr, Handler: e, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	log.Printf("carrying out actions of %s on http://%s/run", *tenant, *addr)
	log.Fatal(server.ListenAndServe())
}

// fetchKeys reads whose receipts are good. Over the network it must be https: who
// can change the answer can give receipts.
func fetchKeys(gate string) (receipt.Keys, error) {
	resp, err := http.Get(gate + "/.well-known/jwks.json")
	if err != nil {
		return receipt.Keys{}, fmt.Errorf("the gate's keys: %w", err)
	}
	defer resp.Body.Close()
	set, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil || resp.StatusCode != http.StatusOK {
		return receipt.Keys{}, fmt.Errorf("the gate's keys: %s %w", resp.Status, err)
	}
	return receipt.ParseKeys(set)
}

// executor carries out the actions of one tenant. The tenant is its own, and none
// that an agent names.
type executor struct {
	keys   receipt.Keys
	tenant string
	run    func(actionType, target string, parameters json.RawMessage) error

	mu   sync.Mutex
	done map[string]time.Time // decisions that were carried out, until their receipt runs out
}

// errDone is of a receipt that has been used.
var errDone = errors.New("this decision was carried out already")

func (e *executor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		ActionType string          `json:"action_type"`
		Target     string          `json:"target"`
		Parameters json.RawMessage `json:"parameters"`
		Receipt    string          `json:"receipt"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&ask); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	now := time.Now()
	claims, err := receipt.Verify(ask.Receipt, e.keys, receipt.Want{Tenant: e.tenant, ActionType: ask.ActionType, Target: ask.Target, Parameters: ask.Parameters}, now)
	if err == nil {
		err = e.once(claims, now)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	if err := e.run(ask.ActionType, ask.Target, ask.Parameters); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "%s on %s is done, by decision %s\n", ask.ActionType, ask.Target, claims.DecisionID)
}

// once takes each decision one time. Several executors of one tenant would share
// this, in a table with the decision's id as its key.
func (e *executor) once(c receipt.Claims, now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.done == nil {
		e.done = map[string]time.Time{}
	}
	for id, until := range e.done {
		if !now.Before(until) {
			delete(e.done, id)
		}
	}
	if _, twice := e.done[c.DecisionID]; twice {
		return errDone
	}
	e.done[c.DecisionID] = time.Unix(c.ExpiresAt, 0)
	return nil
}
