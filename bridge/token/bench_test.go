package token_test

import (
	"crypto"
	"fmt"
	"testing"
	"time"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/token"
)

func BenchmarkVerify(b *testing.B) {
	k := keys()
	for _, bb := range []struct {
		name string
		key  crypto.Signer // nil: the secret
	}{{"HS256", nil}, {"RS256", k.rsa}, {"ES256", k.p256}, {"EdDSA", k.ed}} {
		so := token.SignerOptions{Secret: secret}
		if bb.key != nil {
			so.Secret, so.PrivateKeyPEM = nil, privatePEM(b, bb.key)
		}
		s := signer(b, so)
		raws := make([]string, 256)
		for i := range raws {
			var err error
			raws[i], err = s.Sign(bridge.Claims{User: bridge.UserID(fmt.Sprint(i)), ExpiresAt: noon.Add(time.Hour)})
			if err != nil {
				b.Fatal(err)
			}
		}
		for _, cached := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/cached=%v", bb.name, cached), func(b *testing.B) {
				v := verifier(b, func(o *token.Options) {
					if bb.key != nil {
						o.Secrets, o.PublicKeyPEM = nil, publicPEM(b, bb.key)
					}
					if !cached {
						o.CacheSize = 1 // two entries per shard: none of the 256 is still cached on the next round
					}
				})
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if _, err := v.Verify(b.Context(), raws[i%len(raws)]); err != nil {
						b.Fatal(err)
					}
					i++
				}
			})
		}
	}
}
