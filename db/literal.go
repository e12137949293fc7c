package db

import (
	"strconv"

	"github.com/falconalert/falconbridge/bridge"
)

// The arguments of falcon_append and falcon_append_plain, written into the text of
// the statement.

// appendDrafts writes the columns of all drafts of a batch, an array and a comma
// each: user, kind, title, message, report, status, data.
func appendDrafts(b []byte, batch []*call) []byte {
	b = appendTexts(b, batch, func(n *bridge.Draft) string { return string(n.User) })
	b = appendTexts(b, batch, func(n *bridge.Draft) string { return string(kindOf(n)) })
	b = appendTexts(b, batch, func(n *bridge.Draft) string { return n.Title })
	b = appendTexts(b, batch, func(n *bridge.Draft) string { return n.Message })
	b = appendNumbers(b, batch, func(_ int, n *bridge.Draft) int64 { return n.ReportID })
	b = appendNumbers(b, batch, func(_ int, n *bridge.Draft) int64 { return int64(n.StatusID) })
	return appendTexts(b, batch, func(n *bridge.Draft) string { return string(n.Data) })
}

func appendNumbers(b []byte, batch []*call, of func(int, *bridge.Draft) int64) []byte {
	b = append(b, '\'', '{')
	for i, w := range batch {
		for j := range w.cmd.Drafts {
			b = append(strconv.AppendInt(b, of(i, &w.cmd.Drafts[j]), 10), ',')
		}
	}
	return endArray(b)
}

func appendTexts(b []byte, batch []*call, of func(*bridge.Draft) string) []byte {
	b = append(b, '\'', '{')
	for _, w := range batch {
		for j := range w.cmd.Drafts {
			b = append(appendElement(b, of(&w.cmd.Drafts[j])), ',')
		}
	}
	return endArray(b)
}

// endArray closes an array literal, over the comma behind its last element.
func endArray(b []byte) []byte {
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return append(b, '}', '\'', ',')
}

// appendElement writes s as an element of an array literal inside a string
// literal: " and \ are escaped for the array, ' for the string
// (standard_conforming_strings is on, the driver insists).
func appendElement(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\\':
			b = append(append(b, s[start:i]...), '\\', c)
			start = i + 1
		case '\'':
			b = append(append(b, s[start:i]...), '\'', '\'')
			start = i + 1
		}
	}
	return append(append(b, s[start:]...), '"')
}

// appendLiteral writes s as a string literal.
func appendLiteral(b []byte, s string) []byte {
	b = append(b, '\'')
	for i := 0; i < len(s); i++ {
		if s[i] == '\'' {
			b = append(b, '\'')
		}
		b = append(b, s[i])
	}
	return append(b, '\'')
}

// appendNode writes the name that hints carry, NULL for none.
func appendNode(b []byte, name string) []byte {
	if name == "" {
		return append(b, "NULL"...)
	}
	return appendLiteral(b, name)
}
