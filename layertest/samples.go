package layertest

import (
	"reflect"
	"strconv"
)

// Samples make the requests and responses of a run, of which the run makes a
// hundred or so. They are numbered from 1, and those of different numbers should
// differ, or else the run cannot tell them apart.
//
// A nil function has samples made by reflection: the number itself for numbers,
// its digits for strings, and so on through the exported fields of structs. Set
// one for types for which that means nothing, as for an interface, or where the
// layer takes valid requests only.
type Samples[Req, Resp any] struct {
	Request  func(n int) Req
	Response func(n int) Resp
}

func (s Samples[Req, Resp]) withDefaults() Samples[Req, Resp] {
	if s.Request == nil {
		s.Request = sample[Req]
	}
	if s.Response == nil {
		s.Response = func(n int) Resp { return sample[Resp](-n) } // not to be taken for a request
	}
	return s
}

// sample makes the nth value of a type.
func sample[T any](n int) (v T) {
	fill(reflect.ValueOf(&v).Elem(), n, 0)
	return v
}

// fill puts n into v wherever there is a place for it.
func fill(v reflect.Value, n, depth int) {
	const deepest = 5 // types may refer to themselves
	if !v.CanSet() || depth > deepest {
		return
	}
	switch {
	case v.CanInt():
		v.SetInt(int64(n))
	case v.CanUint():
		v.SetUint(uint64(n))
	case v.CanFloat():
		v.SetFloat(float64(n))
	case v.CanComplex():
		v.SetComplex(complex(float64(n), 0))
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(n%2 != 0)
	case reflect.String:
		v.SetString(strconv.Itoa(n))
	case reflect.Interface:
		if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf(n))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n, depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n, depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n, depth+1)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), n, depth+1)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n, depth+1)
		fill(value, n, depth+1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	}
}
