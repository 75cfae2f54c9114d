package faults_test

import (
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/turretgo/turret/bench/faults"
	"github.com/turretgo/turret/bench/signers"
	"github.com/turretgo/turret/signer/kmstest"
)

var (
	contenders = flag.String("signers", "turret,turret hedged,turret told 300/s", "the signers to run, `names` with commas between them; all")
	out        = flag.String("json", "", "write the results to this `file`")
)

// server is a KMS in the bubble.
type server struct{ *kmstest.Server }

func (s server) Inject(scenario faults.Scenario, phase int) error {
	s.Server.Inject(scenario.Phases[phase].Faults)
	return nil
}

func (s server) Stats() (kmstest.Counts, error) { return s.Server.Stats().Op("Sign"), nil }

// do carries a scenario out in virtual time.
func do(t *testing.T, scenario faults.Scenario, c signers.Contender) (run *faults.Run) {
	synctest.Test(t, func(t *testing.T) {
		srv := kmstest.NewServer()
		defer srv.Close()
		s, err := c.Open(t.Context(), signers.Target{KeyID: srv.CreateKey(types.KeySpecEccNistP256), Client: srv.Client()})
		require.NoError(t, err)
		defer s.Close()
		run, err = scenario.Do(t.Context(), c.Name, server{srv}, s.Public(), s.Sign)
		require.NoError(t, err)
		srv.Close() // ends whatever hangs
		run.Wait()
	})
	return run
}

func TestFaults(t *testing.T) {
	withoutConfiguration(t)
	var results []faults.Result
	for _, scenario := range faults.Scenarios() {
		if testing.Short() {
			scenario = scenario.Short()
		}
		for _, c := range chosen() {
			if c.Name == signers.Told.Name && scenario.Name != "quota" {
				continue
			}
			t.Run(scenario.Name+"/"+c.Name, func(t *testing.T) {
				r := do(t, scenario, c).Result()
				results = append(results, r)
				require.NotZero(t, r.Soon)
				if strings.HasPrefix(c.Name, "turret") {
					require.Zero(t, r.Wrong, "signatures that do not verify")
					require.Zero(t, r.Stuck, "calls that never returned")
				}
			})
		}
	}
	var tables strings.Builder
	for _, table := range append(faults.Tables(results), faults.GoalsTable(results)) {
		require.NoError(t, table.Write(&tables))
	}
	t.Log("\n" + tables.String())
	if *out != "" {
		text, err := json.MarshalIndent(results, "", "\t")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(*out, text, 0o644))
	}
}

// withoutConfiguration keeps this machine's AWS configuration out of the SDK's.
func withoutConfiguration(t *testing.T) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
}

func chosen() []signers.Contender {
	all := append(signers.All(), signers.Told)
	if *contenders == "all" {
		return all
	}
	return slices.DeleteFunc(all, func(c signers.Contender) bool {
		return !slices.Contains(strings.Split(*contenders, ","), c.Name)
	})
}
