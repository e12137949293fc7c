package db

import (
	"encoding/binary"
	"slices"

	"github.com/falconalert/falconbridge/bridge"
)

// The moves of a session's cursor are stored as bytes, in two lists of entries of fixed size,
// oldest first. One contains its advances. The other contains its skips, the ranges that it
// passed without an acknowledgement. The migration 20261129000220_history explains why.
const (
	advanceSize = 16 // seq and time, 8 bytes each
	skipSize    = 25 // the seqs Above and UpTo, 8 bytes each, the reason, 1 byte, and the time, 8 bytes
	maxAdvances = 64
)

// skipReplayCap is a reason for skips that only this package uses: the replay cap.
const skipReplayCap bridge.SkipReason = 'c'

// advance is one move of a cursor, from its former position up to Seq.
type advance struct {
	Seq bridge.Seq
	// At is the latest time at which the cursor passed Seq, in Unix ms. If it is positive,
	// everything but the skips was acknowledged by then. If it is unknown what was skipped,
	// At is the time with a negative sign. It is 0 if a SUBSCRIBE placed the cursor at Seq.
	At int64
}

// skip is a range of seqs that a cursor passed without an acknowledgement.
type skip struct {
	bridge.Skip

	At int64 // the latest time at which it was passed, in Unix ms
}

// encodeSkips encodes skips as falcon_advance expects them, without times.
func encodeSkips(skips []bridge.Skip) []byte {
	var b []byte
	for _, s := range skips {
		b = binary.BigEndian.AppendUint64(b, uint64(s.Above))
		b = binary.BigEndian.AppendUint64(b, uint64(s.UpTo))
		b = append(b, byte(s.Why))
	}
	return b
}

// stampSkips does for SQLite what falcon_skips does for Postgres. It adds the time to the
// skips in passed. If there was a leap, it also puts a skip for the replay cap before them.
func stampSkips(acked, leap bridge.Seq, passed []byte, at int64) []byte {
	if leap > acked {
		passed = slices.Concat(encodeSkips([]bridge.Skip{{Above: acked, UpTo: leap, Why: skipReplayCap}}), passed)
	}
	var b []byte
	for s := range slices.Chunk(passed, skipSize-8) {
		b = binary.BigEndian.AppendUint64(append(b, s...), uint64(at))
	}
	return b
}

func decodeAdvances(b []byte) (out []advance) {
	for ; len(b) >= advanceSize; b = b[advanceSize:] {
		out = append(out, advance{bridge.Seq(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))})
	}
	return out
}

func decodeSkips(b []byte) (out []skip) {
	for ; len(b) >= skipSize; b = b[skipSize:] {
		out = append(out, skip{bridge.Skip{
			Above: bridge.Seq(binary.BigEndian.Uint64(b)),
			UpTo:  bridge.Seq(binary.BigEndian.Uint64(b[8:])),
			Why:   bridge.SkipReason(b[16]),
		}, int64(binary.BigEndian.Uint64(b[17:]))})
	}
	return out
}

// passage is how a cursor passed one seq.
type passage struct {
	How passing
	Why bridge.SkipReason // with passedSkipped
	At  int64             // the latest time at which it was passed, in Unix ms; 0: unknown
}

// passing is a way of passing a seq.
type passing int

const (
	notPassed          passing = iota
	passedAcknowledged         // or, with QoS 0, sent
	passedSkipped
	passedBefore  // the subscription began after it
	passedPerhaps // acknowledged, unless it was gone before
	passedUnknown
)

// pass returns how a cursor passed seq. acked is where the cursor is now, and from is its
// from_seq. If a SUBSCRIBE moved the cursor back, it may have passed seq more than once. Then
// a pass with an acknowledgement counts, or if there was none, the last pass.
func pass(seq, from, acked bridge.Seq, advances []advance, skips []skip) (p passage) {
	var pos bridge.Seq
	var previous int64 // time of the previous pass over seq
	allSkipsKnown := len(skips) < bridge.MaxSkips
	if len(advances) >= maxAdvances {
		pos = advances[0].Seq // the advances before this one are lost
	}
	if seq <= pos {
		p = older(seq, from, skips)
	}
	for _, a := range advances {
		at := max(a.At, -a.At)
		switch {
		case seq <= pos || seq > a.Seq || p.How == passedAcknowledged:
		case at == 0:
			p = passage{How: passedBefore}
		default:
			p = passage{How: passedAcknowledged, At: at}
			switch {
			case !allSkipsKnown && at < skips[0].At:
				p.How = passedUnknown
			case a.At < 0:
				p.How = passedPerhaps
			}
			for _, s := range skips {
				if s.covers(seq) && previous < s.At && s.At <= at {
					p = passage{passedSkipped, s.Why, s.At}
				}
			}
			previous = at
		}
		pos = a.Seq
	}
	switch {
	case p.How == passedAcknowledged:
	case seq > acked:
		p = passage{} // it has yet to be passed, perhaps again
	case p.How == notPassed || seq > pos: // the cursor moved without leaving a history
		p = passage{How: passedPerhaps}
		fallthrough
	case p.How == passedPerhaps:
		if capped := slices.ContainsFunc(skips, func(s skip) bool { return s.Why == skipReplayCap && s.UpTo == from }); seq <= from && !capped {
			p = passage{How: passedBefore}
		}
	}
	return p
}

// older returns how a cursor passed a seq that lies before its stored advances.
func older(seq, from bridge.Seq, skips []skip) passage {
	for _, s := range skips {
		if s.covers(seq) {
			return passage{passedSkipped, s.Why, s.At}
		}
	}
	if seq <= from || len(skips) >= bridge.MaxSkips {
		return passage{How: passedUnknown} // it may have been skipped: before the subscription, over the replay cap, or by a skip no longer stored
	}
	return passage{How: passedAcknowledged}
}

func (s *skip) covers(seq bridge.Seq) bool { return s.Above < seq && seq <= s.UpTo }
