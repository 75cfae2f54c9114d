package kmstest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// FuzzHandler posts anything at all. Whatever it is, the server does not panic,
// answers in the shape that the SDK understands, and counts it once.
func FuzzHandler(f *testing.F) {
	// In bodies, KEY stands for the id of a key that is there, MLDSA for another's.
	const key, mldsa = "KEY", "MLDSA"
	mu := base64.StdEncoding.EncodeToString(make([]byte, 64))
	for _, seed := range []struct{ operation, body string }{
		{"Sign", `{"KeyId":"KEY","Message":"AAAA","SigningAlgorithm":"ECDSA_SHA_256"}`},
		{"Sign", `{"KeyId":"alias/a","Message":"AAAA","MessageType":"DIGEST","SigningAlgorithm":"ECDSA_SHA_256","DryRun":true}`},
		{"Verify", `{"KeyId":"arn:aws:kms:us-east-1:111122223333:key/KEY","Message":"AAAA","SigningAlgorithm":"ECDSA_SHA_256","Signature":"MAYCAQECAQE="}`},
		{"Sign", `{"KeyId":"MLDSA","Message":"AAAA","SigningAlgorithm":"ML_DSA_SHAKE_256"}`},
		{"Sign", `{"KeyId":"MLDSA","Message":"` + mu + `","MessageType":"EXTERNAL_MU","SigningAlgorithm":"ML_DSA_SHAKE_256"}`},
		{"Verify", `{"KeyId":"MLDSA","Message":"` + mu + `","MessageType":"EXTERNAL_MU","SigningAlgorithm":"ML_DSA_SHAKE_256","Signature":"AAAA"}`},
		{"Verify", `{"KeyId":"MLDSA","Message":"AAAA","SigningAlgorithm":"ML_DSA_SHAKE_256","Signature":"AAAA"}`},
		{"CreateKey", `{"KeySpec":"ML_DSA_87","KeyUsage":"SIGN_VERIFY"}`},
		{"CreateKey", `{"KeySpec":"ECC_SECG_P256K1","KeyUsage":"SIGN_VERIFY"}`},
		{"CreateKey", `{"KeySpec":"ECC_NIST_P256","KeyUsage":"SIGN_VERIFY","MultiRegion":true}`},
		{"DescribeKey", `{"KeyId":"KEY"}`},
		{"GetPublicKey", `{"KeyId":"KEY"}`},
		{"CreateAlias", `{"AliasName":"alias/b","TargetKeyId":"KEY"}`},
		{"UpdateAlias", `{"AliasName":"alias/a","TargetKeyId":"KEY"}`},
		{"DeleteAlias", `{"AliasName":"alias/a"}`},
		{"EnableKey", `{"KeyId":"KEY"}`},
		{"DisableKey", `{"KeyId":"KEY"}`},
		{"ScheduleKeyDeletion", `{"KeyId":"KEY","PendingWindowInDays":7}`},
		{"CancelKeyDeletion", `{"KeyId":"KEY"}`},
		{"ReplicateKey", `{"KeyId":"KEY","ReplicaRegion":"eu-west-1"}`},
		{"Encrypt", `{}`},
		{"Sign", `null`},
		{"", ``},
	} {
		f.Add("TrentService."+seed.operation, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, target string, body []byte) {
		srv := NewServer()
		defer srv.Close()
		id := srv.CreateKey(types.KeySpecEccNistP256)
		srv.SetAlias("alias/a", id)
		ids := strings.NewReplacer(key, id, mldsa, srv.CreateKey(types.KeySpecMlDsa44))

		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(ids.Replace(string(body))))
		req.Header.Set("X-Amz-Target", target)
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256")
		res := httptest.NewRecorder()
		srv.serve(res, req)

		switch res.Code {
		case http.StatusOK, http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		default:
			t.Errorf("status %d: %s", res.Code, res.Body)
		}
		var answer map[string]any
		if err := json.Unmarshal(res.Body.Bytes(), &answer); err != nil {
			t.Errorf("the answer is no JSON object: %v: %s", err, res.Body)
		}
		if _, refused := answer["__type"]; refused != (res.Code != http.StatusOK) {
			t.Errorf("status %d with %s", res.Code, res.Body)
		}
		if res.Header().Get("x-amzn-RequestId") == "" {
			t.Error("no request id")
		}
		if total := srv.Stats().Total(); total.Requests != 1 || total.OK+total.Refused != 1 || total.InFlight != 0 {
			t.Errorf("one request is counted as %v", total)
		}
	})
}
