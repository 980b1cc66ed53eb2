package announce

import (
	"fmt"
	"strings"

	"github.com/tiergate/tiergate/engine"
)

// teamsMessage is how many bytes a message with several announcements may have:
// Teams refuses more than about 28 KB.
// https://learn.microsoft.com/connectors/teams/#known-issues-and-limitations-with-actions
const teamsMessage = 20_000

type teamsBody struct {
	Type        string            `json:"type"`
	Attachments []teamsAttachment `json:"attachments"`
}

type teamsAttachment struct {
	ContentType string       `json:"contentType"`
	Content     adaptiveCard `json:"content"`
}

type adaptiveCard struct {
	Schema  string         `json:"$schema"`
	Type    string         `json:"type"`
	Version string         `json:"version"`
	MSTeams map[string]any `json:"msteams"`
	Body    []cardElement  `json:"body"`
}

// cardElement is a RichTextBlock or an ActionSet.
type cardElement struct {
	Type      string       `json:"type"`
	Inlines   []textRun    `json:"inlines,omitempty"`
	Actions   []openAction `json:"actions,omitempty"`
	Separator bool         `json:"separator,omitempty"`
	Spacing   string       `json:"spacing,omitempty"`
}

type textRun struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Weight string `json:"weight,omitempty"`
	Size   string `json:"size,omitempty"`
	Subtle bool   `json:"isSubtle,omitempty"`
}

type openAction struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

// TeamsBody is a message for one announcement, or for the first n of several, as
// many as Teams takes at once. Every text is a TextRun,
// because "Markdown is not supported" there, while TextBlock and FactSet read it.
// Only what is made of publicURL and ids can be clicked.
// https://learn.microsoft.com/adaptive-cards/schema-explorer/text-run
func TeamsBody(publicURL string, due []engine.DueAnnouncement) (body []byte, n int, err error) {
	if !allComplete(due) {
		return nil, 0, errIncomplete
	}
	if len(due) == 1 {
		body, err = teamsEncode(teamsCard(cardOf(publicURL, due[0])))
		return body, 1, err
	}
	var cards []card
	var items []cardElement
	size := 0
	for i, d := range due {
		c := cardOf(publicURL, d)
		item := teamsItem(i+1, c)
		doc, err := encode(item)
		if err != nil {
			return nil, 0, err
		}
		if i > 0 && size+len(doc) > teamsMessage {
			break
		}
		size += len(doc)
		cards, items = append(cards, c), append(items, item...)
	}
	if len(cards) == 1 {
		return TeamsBody(publicURL, due[:1])
	}
	body, err = teamsEncode(append([]cardElement{richText(textRun{Text: digestTitle(cards), Weight: "Bolder", Size: "Large"})}, items...))
	return body, len(cards), err
}

func teamsEncode(elements []cardElement) ([]byte, error) {
	return encode(teamsBody{Type: "message", Attachments: []teamsAttachment{{
		ContentType: "application/vnd.microsoft.card.adaptive",
		Content: adaptiveCard{
			Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4",
			MSTeams: map[string]any{"width": "Full"}, Body: elements,
		},
	}}})
}

// teamsCard is one announcement in full.
func teamsCard(c card) []cardElement {
	list := []cardElement{richText(textRun{Text: c.title, Weight: "Bolder", Size: "Large"})}
	if c.target != "" {
		list = append(list, richText(textRun{Text: "Target: ", Weight: "Bolder"}, textRun{Text: c.target}))
	}
	for _, f := range c.facts {
		list = append(list, richText(textRun{Text: f.label + ": ", Weight: "Bolder"}, textRun{Text: f.text}))
	}
	list = append(list, teamsNext(c)...)
	return append(list, richText(textRun{Text: c.footer, Size: "Small", Subtle: true}))
}

// teamsItem is one announcement of several.
func teamsItem(number int, c card) []cardElement {
	head := richText(textRun{Text: fmt.Sprintf("%d. %s", number, c.title), Weight: "Bolder"})
	head.Separator = true
	list := []cardElement{head}
	if c.target != "" {
		list = append(list, richText(textRun{Text: "Target: ", Weight: "Bolder"}, textRun{Text: c.target}))
	}
	return append(append(list, richText(textRun{Text: c.brief})), teamsNext(c)...)
}

// teamsNext is how to go on: a link to our page, or a command.
func teamsNext(c card) []cardElement {
	switch {
	case c.page != "":
		return []cardElement{{Type: "ActionSet", Actions: []openAction{{Type: "Action.OpenUrl", Title: "Open the approval", URL: c.page}}}}
	case c.command != "":
		return []cardElement{richText(textRun{Text: "To approve: ", Weight: "Bolder"}, textRun{Text: c.command})}
	}
	return nil
}

// richText also takes away the one thing that a TextRun may read: {{DATE(…)}} and
// {{TIME(…)}}, which would show a target as something else.
// https://learn.microsoft.com/adaptive-cards/authoring-cards/text-features
func richText(runs ...textRun) cardElement {
	for i := range runs {
		runs[i].Type = "TextRun"
		for strings.Contains(runs[i].Text, "{{") {
			runs[i].Text = strings.ReplaceAll(runs[i].Text, "{{", `\u{7B}{`)
		}
	}
	return cardElement{Type: "RichTextBlock", Inlines: runs, Spacing: "Small"}
}
