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

	"github.com/falconalert/falconbridge/bridge/delivery"
	"github.com/falconalert/falconbridge/internal/edge"
)

// Options sets up a Broker.
type Options struct {
	Hub      *delivery.Hub
	Verifier Verifier
	Origins  edge.Origins // browser origins the WebSocket upgrade accepts
	Log      *slog.Logger // nil means slog.Default

	// TrustedProxies are whose header of the PROXY protocol is believed, and
	// demanded, on TCP and TLS. On HTTP whoever mounts WebSocket looks after them.
	TrustedProxies edge.Proxies

	MaxConnections        int     // logged in at once; 0 means 100000. Past it: 0x89
	MaxConnectionsPerUser int     // on this node; 0 means 16. Past it: 0x97. bridge.MaxSessions limits stored sessions
	MaxConnectionsPerIP   int     // of one address; 0: no limit. Past it: 0x97
	ConnectRatePerIP      float64 // CONNECTs a second and address; 0: no limit. Past it: 0x9F
	ConnectRatePerUser    float64 // CONNECTs with a good token a second and user; 0: no limit. Past it: 0x9F
	PacketRate            float64 // control packets a second and connection, see allowPacket; 0: no limit. Past it: 0x96
	MaxPending            int     // sockets before login, in all; 0 means 4096. Past it the oldest of the address with most is closed
	MaxPendingPerIP       int     // the same for one address; 0 means 256. Past it: closed

	MaxConnectSize int           // bytes of a CONNECT; 0 means 16 KiB
	MaxPacketSize  int           // bytes of any later packet; 0 means 64 KiB
	MaxFilters     int           // topic filters in one SUBSCRIBE or UNSUBSCRIBE; 0 means 64. Past it: 0x97
	ConnectTimeout time.Duration // from accept to a whole CONNECT; 0 means 5s
	PacketTimeout  time.Duration // from the first byte of a packet to its last; 0 means 30s
	WriteTimeout   time.Duration // of one write to a device; 0 means 10s
	Query          time.Duration // longest wait for database and keys in a CONNECT or SUBSCRIBE; 0 means 2s
	Concurrency    int           // CONNECTs that use the database at once, and as many SUBSCRIBEs; 0 means 8
	QueueTimeout   time.Duration // longest wait for one of those; 0 means 10s. Past it: 0x89, of a SUBSCRIBE 0x83
	SessionTTL     time.Duration // longest session expiry, as the hub's; 0 means 168h
	MaxKeepAlive   time.Duration // the Server Keep Alive of MQTT 5 clients that ask for more; 0 means 20m
	WSKeepAlive    time.Duration // the same over WebSocket, where proxies close what is silent for a minute; 0 means 50s
	Linger         time.Duration // wait for the peer's end after a last packet; 0 means 1s
}

func (o Options) withDefaults() Options {
	o.Log = cmp.Or(o.Log, slog.Default()).With("component", "broker")
	o.MaxConnections = cmp.Or(o.MaxConnections, 100_000)
	o.MaxConnectionsPerUser = cmp.Or(o.MaxConnectionsPerUser, 16)
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

// Broker serves devices. Its methods may be called from any goroutine.
type Broker struct {
	o               Options
	log             *slog.Logger
	admission       admission
	count           counters
	upgradeFailures *edge.Rates[struct{}] // warnings about upgrades that fail with 5xx
	started         time.Time
	mochi           *mqtt.Server
	ids             atomic.Uint64 // for mochi's client ids

	logins, subscribes *semaphore
	stopWaiting        func() // ends the waiting for them

	mu        sync.Mutex
	draining  bool
	listeners map[net.Listener]struct{}
	running   sync.WaitGroup // one for every connection, from accept to the last close
}

// New returns a broker over o. It opens nothing: see [Broker.ServeTCP] and
// [Broker.WebSocket].
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
