package announce

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tiergate/tiergate/engine"
)

// Slack's limits. What a message may have in all is not documented; it refuses
// more than about 13,200 characters of blocks.
// https://docs.slack.dev/reference/block-kit/blocks/section-block
// https://docs.slack.dev/reference/block-kit/blocks/header-block
// https://github.com/slackapi/bolt-js/issues/2509
const (
	slackText    = 2900 // 3000 characters a text
	slackHeader  = 150
	slackBlocks  = 50
	slackMessage = 10_000 // bytes of a message with several announcements
)

type slackMessageBody struct {
	Text        string       `json:"text"` // what a notification shows
	UnfurlLinks bool         `json:"unfurl_links"`
	UnfurlMedia bool         `json:"unfurl_media"`
	Blocks      []slackBlock `json:"blocks"`
}

type slackBlock struct {
	Type     string            `json:"type"`
	Text     *slackTextObject  `json:"text,omitempty"`
	Elements []slackTextObject `json:"elements,omitempty"`
}

type slackTextObject struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Emoji    *bool  `json:"emoji,omitempty"`    // of plain_text
	Verbatim bool   `json:"verbatim,omitempty"` // of mrkdwn: find no links and names
}

// SlackBody is a message for one announcement, or for the first n of several, as
// many as Slack takes at once. Texts that somebody else
// wrote are plain_text, in which Slack knows no mark-up, link, mention or emoji;
// mrkdwn is only what is made of publicURL and ids.
// https://docs.slack.dev/reference/block-kit/composition-objects/text-object
func SlackBody(publicURL string, due []engine.DueAnnouncement) (body []byte, n int, err error) {
	if !allComplete(due) {
		return nil, 0, errIncomplete
	}
	if len(due) == 1 {
		c := cardOf(publicURL, due[0])
		body, err = encode(slackMessageBody{Text: slackEscape.Replace(c.words), Blocks: slackCard(c)})
		return body, 1, err
	}
	var cards []card
	var items []slackBlock
	size := 0
	for i, d := range due {
		c := cardOf(publicURL, d)
		item := slackItem(i+1, c)
		doc, err := encode(item)
		if err != nil {
			return nil, 0, err
		}
		if i > 0 && (size+len(doc) > slackMessage || 1+len(items)+len(item) > slackBlocks) {
			break
		}
		size += len(doc)
		cards, items = append(cards, c), append(items, item...)
	}
	if len(cards) == 1 {
		return SlackBody(publicURL, due[:1])
	}
	title := digestTitle(cards)
	body, err = encode(slackMessageBody{Text: title, Blocks: append([]slackBlock{{Type: "header", Text: slackPlain(title)}}, items...)})
	return body, len(cards), err
}

// slackCard is one announcement in full.
func slackCard(c card) []slackBlock {
	blocks := []slackBlock{{Type: "header", Text: slackPlain(visible(c.title, slackHeader-30))}}
	if c.target != "" {
		blocks = append(blocks, slackSections("Target: "+c.target)...)
	}
	var lines []string
	for _, f := range c.facts {
		lines = append(lines, f.label+": "+f.text)
	}
	blocks = append(blocks, slackSections(strings.Join(lines, "\n"))...)
	blocks = append(blocks, slackNext(c)...)
	return append(blocks, slackBlock{Type: "context", Elements: []slackTextObject{*slackPlain(c.footer)}})
}

// slackItem is one announcement of several.
func slackItem(number int, c card) []slackBlock {
	text := fmt.Sprintf("%d. %s\n", number, c.title)
	if c.target != "" {
		text += "Target: " + c.target + "\n"
	}
	return append(slackSections(text+c.brief), slackNext(c)...)
}

// slackNext is how to go on: a link to our page, or a command.
func slackNext(c card) []slackBlock {
	switch {
	case c.page != "":
		link := "<" + slackEscape.Replace(c.page) + "|Open the approval>"
		return []slackBlock{{Type: "section", Text: &slackTextObject{Type: "mrkdwn", Text: link, Verbatim: true}}}
	case c.command != "":
		return slackSections("To approve: " + c.command)
	}
	return nil
}

// slackSections is text in as many blocks as it needs.
func slackSections(text string) []slackBlock {
	var blocks []slackBlock
	for text != "" {
		end, runes := 0, 0
		for end < len(text) && runes < slackText {
			_, size := utf8.DecodeRuneInString(text[end:])
			end, runes = end+size, runes+1
		}
		blocks = append(blocks, slackBlock{Type: "section", Text: slackPlain(text[:end])})
		text = text[end:]
	}
	return blocks
}

func slackPlain(text string) *slackTextObject {
	return &slackTextObject{Type: "plain_text", Text: text, Emoji: new(bool)}
}

// slackEscape replaces the three characters that mean something in mrkdwn.
// https://docs.slack.dev/messaging/formatting-message-text#escaping
var slackEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
