package db

import (
	"encoding/binary"
	"slices"

	"github.com/falconalert/falconbridge/bridge"
)

// What a session's cursor did is kept as bytes, see the migration: its advances and, of
// what it passed without an acknowledgement, its skips. Both are lists of entries of one
// size, oldest first.
const (
	advanceSize = 16 // seq and time, 8 bytes each
	skipSize    = 25 // seqs above 8 bytes, up to 8 bytes, the reason 1 byte, time 8 bytes
	maxAdvances = 64
)

// The reasons of skips that bridge.SkipReason lacks.
const skipReplayCap bridge.SkipReason = 'c'

// advance is one move of a cursor, of all that it had not passed up to Seq.
type advance struct {
	Seq bridge.Seq
	At  int64 // > 0: it was acknowledged by then, but for the skips; < 0: passed by -At, what was skipped is not known; 0: a SUBSCRIBE placed it here
}

// skip is a range of seqs that a cursor passed without an acknowledgement.
type skip struct {
	bridge.Skip

	At int64 // by then
}

// encodeSkips writes skips as falcon_advance takes them: without times.
func encodeSkips(skips []bridge.Skip) []byte {
	var b []byte
	for _, s := range skips {
		b = binary.BigEndian.AppendUint64(b, uint64(s.Above))
		b = binary.BigEndian.AppendUint64(b, uint64(s.UpTo))
		b = append(b, byte(s.Why))
	}
	return b
}

// stampSkips is falcon_skips for SQLite.
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
	Why bridge.SkipReason // with skipped
	At  int64             // by then; 0: not known
}

type passing int

const (
	notPassed          passing = iota
	passedAcknowledged         // or, with QoS 0, sent
	passedSkipped
	passedBefore  // the subscription began behind it
	passedPerhaps // acknowledged, where it was not gone before
	passedUnknown
)

// pass returns how the cursor that did as and ss, and is at acked with from as its from_seq,
// passed seq. Where a SUBSCRIBE took the cursor back, it may have passed seq more than once:
// an acknowledgement counts, else the last time.
func pass(seq, from, acked bridge.Seq, as []advance, ss []skip) (p passage) {
	var pos bridge.Seq
	var since int64                    // when it passed seq before
	whole := len(ss) < bridge.MaxSkips // no skip is lost
	if len(as) >= maxAdvances {
		pos = as[0].Seq // what came before it is lost
	}
	if seq <= pos {
		p = older(seq, from, ss)
	}
	for _, a := range as {
		at := max(a.At, -a.At)
		switch {
		case seq <= pos || seq > a.Seq || p.How == passedAcknowledged:
		case at == 0:
			p = passage{How: passedBefore}
		default:
			p = passage{How: passedAcknowledged, At: at}
			switch {
			case !whole && at < ss[0].At:
				p.How = passedUnknown
			case a.At < 0:
				p.How = passedPerhaps
			}
			for _, s := range ss {
				if s.covers(seq) && since < s.At && s.At <= at {
					p = passage{passedSkipped, s.Why, s.At}
				}
			}
			since = at
		}
		pos = a.Seq
	}
	switch {
	case p.How == passedAcknowledged:
	case seq > acked:
		p = passage{} // it is due, perhaps again
	case p.How == notPassed || seq > pos: // moved without a history
		p = passage{How: passedPerhaps}
		fallthrough
	case p.How == passedPerhaps:
		if capped := slices.ContainsFunc(ss, func(s skip) bool { return s.Why == skipReplayCap && s.UpTo == from }); seq <= from && !capped {
			p = passage{How: passedBefore}
		}
	}
	return p
}

// older is how a cursor passed a seq before the advances that are kept.
func older(seq, from bridge.Seq, ss []skip) passage {
	for _, s := range ss {
		if s.covers(seq) {
			return passage{passedSkipped, s.Why, s.At}
		}
	}
	if seq <= from || len(ss) >= bridge.MaxSkips {
		return passage{How: passedUnknown} // a subscription, the replay cap or a skip that is lost may have passed it
	}
	return passage{How: passedAcknowledged}
}

func (s *skip) covers(seq bridge.Seq) bool { return s.Above < seq && seq <= s.UpTo }
