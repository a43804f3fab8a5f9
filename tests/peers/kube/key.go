package main

import (
	"github.com/spf13/cobra"
	"k8s.io/client-go/util/keyutil"
)

// newKeyCommand writes a new private key, as service accounts' tokens are signed with.
func newKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "key FILE",
		Short: "Write a new private key",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, arguments []string) error {
			key, err := keyutil.MakeEllipticPrivateKeyPEM()
			if err != nil {
				return err
			}
			return keyutil.WriteKey(arguments[0], key)
		},
	}
}
