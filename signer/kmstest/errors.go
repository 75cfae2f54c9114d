package kmstest

import (
	"fmt"
	"net/http"
	"strings"
)

// An apiError is a refusal: the code and message that the SDK makes its error of.
type apiError struct {
	status  int
	code    string
	message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

// refuse makes the error that nearly all refusals are: HTTP 400, told apart by code.
func refuse(code, format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

func errValidation(format string, args ...any) *apiError {
	return refuse("ValidationException", format, args...)
}

func errNotFound(format string, args ...any) *apiError {
	return refuse("NotFoundException", format, args...)
}

func errUnsupported(format string, args ...any) *apiError {
	return refuse("UnsupportedOperationException", format, args...)
}

const throttling = "ThrottlingException"

func errThrottled() *apiError {
	return refuse(throttling, "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
}

func errInternal() *apiError {
	return &apiError{http.StatusInternalServerError, "KMSInternalException", "The request was rejected because an internal exception occurred."}
}

func errTooLarge() *apiError {
	return &apiError{http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", "The request is too large."}
}

func errDryRun() *apiError {
	return refuse("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
}

// constraints collects what a request's members violate of the API's model.
// AWS reports all of it at once, before it looks at anything else.
type constraints []string

func (c *constraints) fail(value, member, constraint string) {
	*c = append(*c, fmt.Sprintf("Value %sat '%s' failed to satisfy constraint: %s", value, member, constraint))
}

// length checks a string that must be there.
func (c *constraints) length(member, value string, min, max int) {
	switch {
	case len(value) < min:
		c.fail("'"+value+"' ", member, fmt.Sprintf("Member must have length greater than or equal to %d", min))
	case len(value) > max:
		c.fail("'"+value+"' ", member, fmt.Sprintf("Member must have length less than or equal to %d", max))
	}
}

// blob checks bytes that must be there. AWS does not repeat their value.
func (c *constraints) blob(member string, value []byte, max int) {
	switch {
	case value == nil:
		c.fail("null ", member, "Member must not be null")
	case len(value) == 0:
		c.fail("", member, "Member must have length greater than or equal to 1")
	case len(value) > max:
		c.fail("", member, fmt.Sprintf("Member must have length less than or equal to %d", max))
	}
}

// enum checks that value is one of those the API knows, whether or not this server does.
func enum[T ~string](c *constraints, member string, value T, known []T) {
	for _, k := range known {
		if value == k {
			return
		}
	}
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = string(k)
	}
	c.fail("'"+string(value)+"' ", member, "Member must satisfy enum value set: ["+strings.Join(names, ", ")+"]")
}

// err is nil if nothing was violated.
func (c constraints) err() error {
	switch len(c) {
	case 0:
		return nil
	case 1:
		return errValidation("1 validation error detected: %s", c[0])
	default:
		return errValidation("%d validation errors detected: %s", len(c), strings.Join(c, "; "))
	}
}
