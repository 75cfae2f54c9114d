package kmsproc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	randv2 "math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/turretgo/turret/bench/faults"
	"github.com/turretgo/turret/signer/kmstest"
)

// Serve is the KMS's process. It says on stdout where it is, and ends with stdin.
func Serve(args []string, stdin io.Reader, stdout io.Writer) error {
	srv := kmstest.NewServer()
	defer srv.Close()
	k := KMS{KeyID: srv.CreateKey(types.KeySpecEccNistP256)}
	if len(args) > 0 && args[0] == "tls" {
		dir, err := os.MkdirTemp("", "turret-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		k.CAFile = filepath.Join(dir, "ca.pem")
		ln, err := listenTLS(k.CAFile)
		if err != nil {
			return err
		}
		srv.AddListener(ln)
		k.Endpoint = "https://" + ln.Addr().String()
	} else {
		k.Endpoint = srv.Endpoint()
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer control.Close()
	go http.Serve(control, controls(srv))
	k.Control = "http://" + control.Addr().String()
	if err := json.NewEncoder(stdout).Encode(k); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, stdin)
	return err
}

// controls is how a KMS is told what to do.
func controls(srv *kmstest.Server) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/inject", func(w http.ResponseWriter, r *http.Request) {
		s, err := faults.Find(r.FormValue("scenario"))
		phase, notNumber := strconv.Atoi(r.FormValue("phase"))
		if err != nil || notNumber != nil || phase < 0 || phase >= len(s.Phases) {
			http.Error(w, "there is no such phase", http.StatusBadRequest)
			return
		}
		srv.Inject(s.Phases[phase].Faults)
	})
	mux.HandleFunc("/latency", func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.FormValue("d"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		srv.Inject(kmstest.Faults{Latency: func(*randv2.Rand) time.Duration { return d }})
	})
	mux.HandleFunc("/stats", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(srv.Stats())
	})
	return mux
}

// listenTLS writes the certificate to trust to caFile.
func listenTLS(caFile string) (net.Listener, error) {
	cert, err := certificate()
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	if err := os.WriteFile(caFile, text, 0o600); err != nil {
		return nil, err
	}
	// Like AWS's own endpoint for KMS it speaks HTTP/1.1 only.
	return tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
}

func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:              []string{"localhost"},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
