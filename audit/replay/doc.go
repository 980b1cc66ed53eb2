// Package replay checks a tenant's evidence against itself: that every row is as
// it was written, that what each decision saw is what the configuration and the
// policy of its moment say, and that its bundle, asked again, decides the same.
//
// The configuration is rebuilt from the changes in the log alone, by the code of
// the gate's own view (store.Configuration). A decision's input follows from the
// row and from that: the usual check is that both make the same bytes. It needs no
// database and no network; where the items come from, an evidence file or a
// database, is for the caller.
package replay
