package store_test

import (
	"errors"
	"testing"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store/storetest"
)

// An action_id that is said to be fresh is not looked up. Should one not be,
// the database refuses its row, and its row only.
func TestFreshActionIDThatIsNot(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		first := storetest.Entry("acme", 0)
		if r := s.Append(t.Context(), []*engine.Entry{first})[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		again, other := storetest.Entry("acme", 0), storetest.Entry("acme", 0)
		again.ActionID, again.FreshActionID = first.ActionID, true
		other.FreshActionID = true
		results := s.Append(t.Context(), []*engine.Entry{again, other})
		if !errors.Is(results[0].Err, engine.ErrUnavailable) || results[1].Err != nil {
			t.Fatalf("the used id: %v, the other: %v", results[0].Err, results[1].Err)
		}
		if results[1].Entry.LogSeq != 2 {
			t.Errorf("the other has log_seq %d, want 2", results[1].Entry.LogSeq)
		}

		// And a fresh id, once logged, answers whoever repeats it.
		repeat := storetest.Entry("acme", 0)
		repeat.ActionID = other.ActionID
		r := s.Append(t.Context(), []*engine.Entry{repeat})[0]
		if r.Err != nil || !r.Repeated || r.Entry.DecisionID != other.DecisionID {
			t.Errorf("a repeated fresh id: %+v", r)
		}
	})
}
