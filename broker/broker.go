package broker

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"github.com/falconalert/falconbridge/bridge"
	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/internal/edge"
)

// Options sets up a Broker.
type Options struct {
	Hub      *delivery.Hub
	Verifier Verifier
	Origins  edge.Origins // browser origins that may open a WebSocket
	Log      *slog.Logger // nil means slog.Default

	// TrustedProxies are the peers that must send a PROXY protocol header on TCP and TLS,
	// and whose header is believed. For WebSocket the HTTP server resolves the address.
	TrustedProxies edge.Proxies

	// The limits of this node, each with the reason code of a device over it.

	MaxConnections        int     // logged in at once; 0 means 100000. 0x89
	MaxConnectionsPerUser int     // 0 means bridge.DefaultConnectionsPerUser. 0x97; see also maxWithTakenOver. bridge.MaxSessions limits stored sessions
	MaxConnectionsPerIP   int     // 0: no limit. 0x97
	ConnectRatePerIP      float64 // CONNECTs a second from one address; 0: no limit. 0x9F
	ConnectRatePerUser    float64 // CONNECTs a second with a valid token of one user; 0: no limit. 0x9F
	PacketRate            float64 // control packets a second on one connection, see allowPacket; 0: no limit. 0x96
	MaxPending            int     // sockets before login, in total; 0 means 4096. One more closes an older one, see addPending
	MaxPendingPerIP       int     // sockets before login from one address; 0 means 256. Closed without a code

	MaxConnectSize int           // bytes of a CONNECT; 0 means 16 KiB
	MaxPacketSize  int           // bytes of any later packet; 0 means 64 KiB
	MaxFilters     int           // topic filters in one SUBSCRIBE or UNSUBSCRIBE; 0 means 64. 0x97
	ConnectTimeout time.Duration // from accept to a complete CONNECT; 0 means 5s
	PacketTimeout  time.Duration // from the first byte of a packet to its last; 0 means 30s
	WriteTimeout   time.Duration // of one write to a device; 0 means 10s
	Query          time.Duration // deadline of the database and key look-ups of a CONNECT or SUBSCRIBE; 0 means 2s
	Concurrency    int           // CONNECTs that use the database at once, and as many SUBSCRIBEs; 0 means 8
	QueueTimeout   time.Duration // longest wait for such a slot; 0 means 10s. 0x89, for a SUBSCRIBE 0x83
	SessionTTL     time.Duration // longest session expiry, as in the hub's options; 0 means 168h
	MaxKeepAlive   time.Duration // Server Keep Alive of MQTT 5 clients that ask for more; 0 means 20m
	WSKeepAlive    time.Duration // the same over WebSocket, where proxies close connections that are silent for a minute; 0 means 50s
	Linger         time.Duration // how long to wait for the peer to close after the last packet; 0 means 1s
}

func (o Options) withDefaults() Options {
	o.Log = cmp.Or(o.Log, slog.Default()).With("component", "broker")
	o.MaxConnections = cmp.Or(o.MaxConnections, 100_000)
	o.MaxConnectionsPerUser = cmp.Or(o.MaxConnectionsPerUser, bridge.DefaultConnectionsPerUser)
	o.MaxPending = cmp.Or(o.MaxPending, 4096)
	o.MaxPendingPerIP = cmp.Or(o.MaxPendingPerIP, 256)
	o.MaxConnectSize = cmp.Or(o.MaxConnectSize, 16<<10)
	o.MaxPacketSize = cmp.Or(o.MaxPacketSize, 64<<10)
	o.MaxFilters = cmp.Or(o.MaxFilters, 64)
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 5*time.Second)
	o.PacketTimeout = cmp.Or(o.PacketTimeout, 30*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 10*time.Second)
	o.Query = cmp.Or(o.Query, 2*time.Second)
	o.Concurrency = cmp.Or(o.Concurrency, 8)
	o.QueueTimeout = cmp.Or(o.QueueTimeout, 10*time.Second)
	o.SessionTTL = cmp.Or(o.SessionTTL, 168*time.Hour)
	o.MaxKeepAlive = cmp.Or(o.MaxKeepAlive, 20*time.Minute)
	o.WSKeepAlive = cmp.Or(o.WSKeepAlive, 50*time.Second)
	o.Linger = cmp.Or(o.Linger, time.Second)
	return o
}

func (o Options) check() error {
	if o.Hub == nil || o.Verifier == nil {
		return errors.New("broker: Options.Hub and Options.Verifier are required")
	}
	for name, n := range map[string]int64{
		"MaxConnections": int64(o.MaxConnections), "MaxConnectionsPerUser": int64(o.MaxConnectionsPerUser),
		"MaxPending": int64(o.MaxPending), "MaxPendingPerIP": int64(o.MaxPendingPerIP),
		"MaxConnectSize": int64(o.MaxConnectSize), "MaxPacketSize": int64(o.MaxPacketSize),
		"MaxFilters": int64(o.MaxFilters), "MaxConnectionsPerIP": int64(o.MaxConnectionsPerIP),
		"ConnectTimeout": int64(o.ConnectTimeout), "PacketTimeout": int64(o.PacketTimeout),
		"WriteTimeout": int64(o.WriteTimeout), "Query": int64(o.Query), "Concurrency": int64(o.Concurrency), "QueueTimeout": int64(o.QueueTimeout),
		"SessionTTL": int64(o.SessionTTL),
		"Linger":     int64(o.Linger), "ConnectRatePerIP": int64(math.Floor(o.ConnectRatePerIP)),
		"ConnectRatePerUser": int64(math.Floor(o.ConnectRatePerUser)), "PacketRate": int64(math.Floor(o.PacketRate)),
	} {
		if n < 0 {
			return fmt.Errorf("broker: Options.%s is negative", name)
		}
	}
	for name, d := range map[string]time.Duration{"MaxKeepAlive": o.MaxKeepAlive, "WSKeepAlive": o.WSKeepAlive} {
		if d < time.Second || d > 65535*time.Second {
			return fmt.Errorf("broker: Options.%s is not within 1s and 65535s (MQTT 5 §3.1.2.10)", name)
		}
	}
	return nil
}

// Broker serves MQTT to devices. Its methods may be called from any goroutine.
type Broker struct {
	o               Options
	log             *slog.Logger
	admission       admission
	count           counters
	upgradeFailures *edge.Rates[struct{}] // limits the warnings about upgrades that fail with 5xx
	started         time.Time
	mochi           *mqtt.Server
	ids             atomic.Uint64 // for mochi's client ids

	logins, subscribes *semaphore
	stopWaiting        func() // ends every wait for both

	mu        sync.Mutex
	draining  bool
	listeners map[net.Listener]struct{}
	running   sync.WaitGroup // one for every connection, from accept to the last close
}

// New returns a broker, or an error if o is incomplete or has a value out of range. It
// opens no socket: call [Broker.ServeTCP], and mount [Broker.WebSocket].
func New(o Options) (*Broker, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	b := &Broker{o: o, log: o.Log, started: time.Now(), listeners: make(map[net.Listener]struct{})}
	b.admission.init(&b.o)
	b.upgradeFailures = edge.NewRates[struct{}](1)
	var err error
	if b.mochi, err = newServer(&b.o, &hook{b: b}); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	stopped := make(chan struct{})
	b.stopWaiting = sync.OnceFunc(func() { close(stopped) })
	b.logins, b.subscribes = newSemaphore(o.Concurrency, o.QueueTimeout, stopped), newSemaphore(o.Concurrency, o.QueueTimeout, stopped)
	return b, nil
}
