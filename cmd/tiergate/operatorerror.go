package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/tiergate/tiergate/client"
)

// nextStep is what to do about a problem of the API, by its name.
var nextStep = map[string]string{
	"unauthorized":           "the gate does not know this token: see TIERGATE_TOKEN and --token-file",
	"forbidden":              "use a token with another role",
	"stale_configuration":    "somebody changed the configuration after it was shown to you: nothing was changed; look again and repeat the command",
	"action_id_conflict":     "leave --action-id out, or give another one",
	"decision_superseded":    "ask again without --action-id",
	"policy_error":           "tell whoever looks after the policy",
	"wrong_host":             "name the gate by its loopback address in TIERGATE_URL",
	"queue_full":             "ask again in a moment",
	"configuration_changing": "ask again",
	"policy_changing":        "ask again in a moment",
	"too_many_candidates":    "look with tiergate whitelist list",
	"log_unavailable":        "look with tiergate tier get when it is back",
	"timeout":                "look with tiergate tier get whether a change was made",
	"unsupported_media_type": "is there something between you and the gate?",
	"method_not_allowed":     "is the gate older than this program?",
}

// explain adds what to do to an error of the client, and says whether it is one
// of usage.
func explain(err error) error {
	var problem *client.Problem
	var away *client.Unreachable
	switch {
	case err == nil:
		return nil
	case errors.As(err, &problem):
		if next := nextStep[problem.Kind()]; next != "" {
			err = fmt.Errorf("%w. What to do: %s", err, next)
		}
		if problem.Status == http.StatusBadRequest || problem.Status == http.StatusRequestEntityTooLarge {
			return usageError{err}
		}
		return err
	case errors.As(err, &away) && !errors.Is(err, context.Canceled):
		return fmt.Errorf("%w. TIERGATE_URL names the gate", err)
	case errors.Is(err, client.ErrAnswer):
		return fmt.Errorf("%w. TIERGATE_URL names the gate", err)
	case errors.Is(err, context.Canceled) && away == nil:
		return errors.New("interrupted")
	}
	return err
}
