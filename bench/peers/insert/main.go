// Insert does what many applications do: it stores a notification with one INSERT on a pooled
// connection and then has Centrifugo publish it. It is simple, and a crash between the two
// loses the publication.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// maxBody is the longest body that is read, in bytes, as in falconbridge (api.MaxBody).
const maxBody = 256 << 10

type draft struct {
	Title   string `json:"title"`
	Message string `json:"message"`
	User    string `json:"created_by"`
}

type item struct {
	draft
	ID        int64     `json:"id"`
	CreatedAt time.Time `json:"created_at"`
}

type claims struct {
	Scope string `json:"scope"`
	jwt.RegisteredClaims
}

type service struct {
	pool   *pgxpool.Pool
	parser *jwt.Parser
	secret []byte
	api    string // URL of Centrifugo's publish call
	key    string
	client *http.Client
}

const schema = `CREATE TABLE IF NOT EXISTS insert_notifications (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL, message text NOT NULL,
	created_by text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), read_at timestamptz);
	CREATE INDEX IF NOT EXISTS insert_notifications_user ON insert_notifications (created_by, id)`

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	conf, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	conf.MaxConns = 10
	pool, err := pgxpool.NewWithConfig(context.Background(), conf)
	if err != nil {
		return err
	}
	if _, err := pool.Exec(context.Background(), schema); err != nil {
		return err
	}
	s := &service{pool: pool, secret: []byte(os.Getenv("JWT_SECRET")), api: os.Getenv("CENTRIFUGO") + "/api/publish",
		key: os.Getenv("CENTRIFUGO_KEY"), parser: jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired()),
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /notifications", s.create)
	return (&http.Server{Addr: os.Args[1], Handler: mux, ReadHeaderTimeout: 5 * time.Second}).ListenAndServe()
}

func (s *service) create(w http.ResponseWriter, r *http.Request) {
	var c claims
	_, err := s.parser.ParseWithClaims(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), &c,
		func(*jwt.Token) (any, error) { return s.secret, nil })
	if err != nil || !strings.Contains(c.Scope, "notifications:write") {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	var n item
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&n.draft); err != nil ||
		n.Title == "" || n.Message == "" || n.User == "" || len(n.Title) > 255 || len(n.Message) > 4000 {
		http.Error(w, "invalid", http.StatusUnprocessableEntity)
		return
	}
	err = s.pool.QueryRow(r.Context(), "INSERT INTO insert_notifications (title, message, created_by) VALUES ($1, $2, $3) RETURNING id, created_at",
		n.Title, n.Message, n.User).Scan(&n.ID, &n.CreatedAt)
	if err == nil {
		err = s.publish(r.Context(), &n)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"message":"Notificación creada correctamente","id":%d}`, n.ID)
}

func (s *service) publish(ctx context.Context, n *item) error {
	body, err := json.Marshal(map[string]any{"channel": "#" + n.User, "data": n})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.api, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", s.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Error *struct{ Message string } `json:"error"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK || answer.Error != nil {
		return fmt.Errorf("publish: %s %+v", res.Status, answer.Error)
	}
	return nil
}
