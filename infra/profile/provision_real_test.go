//go:build real

package profile

import "carryon/infra/provision"

// Provision is for tests of this package and of the program.
var Provision = provision.Settings
