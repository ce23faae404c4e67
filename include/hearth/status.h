// What all headers of libhearth share: versions, status codes, messages, and the conventions below.
//
// Handles. Types without a definition here (hearth_engine, ...) are made by a function that ends in
// _open, _begin, _load or _make, and belong to the caller until the _close of the same name, which
// takes a null pointer, too. A const char * that a function returns belongs to its handle.
//
// Structs begin with `size`, which the caller sets; all else may be zero and then means what is
// usual. So a program goes on working with later versions, which add members at the end alone:
//
//   hearth_engine_options options = {0};
//   options.size = sizeof options;
//   options.ram = 8ull << 30;
//
// A library that is older than a struct refuses it (HEARTH_ERROR_UNSUPPORTED) unless what it does
// not know is zero. In structs that are filled, `size` is set by the caller as well.
//
// Errors. A function that can fail returns a hearth_status; what it was to fill is then untouched,
// unless it says otherwise. Nothing is written to standard output or standard error, and no
// exception leaves the library, which catches everything, also the lack of memory. It never ends
// the program but for a bug in itself: then it says what it found on standard error and aborts.
//
// Null where a pointer is wanted is HEARTH_ERROR_USAGE, and so is a number out of range. What
// points to a closed handle cannot be noticed.
//
// Processes. What computes or reads belongs to the process that opened it. In one that was forked
// from it, all calls with an engine, a session or a store that do more than look something up are
// HEARTH_ERROR_STATE, and the memory of sessions and experts is not there: open anew. A fork copies
// none of it, but for what a driver of a GPU was asked for.
//
// Signals. The library handles none, and its threads leave those that are meant for the process to
// the program's.
//
// Threads. One that is cancelled (pthread_cancel()) first finishes its call. A callback returns: it
// neither ends its thread nor leaves by longjmp().
//
// Floating point. The rounding mode, traps and treatment of subnormal numbers of the calling thread
// have no effect, and are there again after each call; callbacks run with those of a new program.
//
// Text is UTF-8 and ends with a zero byte, or comes with its number of bytes. Sizes are bytes.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HEARTH_VERSION_MAJOR 0
#define HEARTH_VERSION_MINOR 1
#define HEARTH_VERSION_PATCH 0

#if defined(__GNUC__)
#define HEARTH_API __attribute__((visibility("default")))
#else
#define HEARTH_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef int hearth_status;

enum {
  HEARTH_OK = 0,
  HEARTH_STOPPED = 1,            // a callback, or hearth_session_cancel(), asked for it
  HEARTH_ERROR_USAGE = 2,        // null, out of range, or an option that makes no sense
  HEARTH_ERROR_STATE = 3,        // right at another time: the header says when
  HEARTH_ERROR_NOT_FOUND = 4,    // a file, or a part of a split file, is missing
  HEARTH_ERROR_IO = 5,           // reading or writing failed
  HEARTH_ERROR_BAD_FILE = 6,     // the bytes are not what the format demands
  HEARTH_ERROR_UNSUPPORTED = 7,  // well-formed, but of a kind that this version does not run
  HEARTH_ERROR_BUDGET = 8,       // memory, or the budget given, cannot hold what is needed
  HEARTH_ERROR_BAD_INPUT = 9,    // a text, tokens or a file that does not fit the model
  HEARTH_ERROR_NUMERICS = 10,    // logits that are not finite
  HEARTH_ERROR_MEMORY = 11,      // the system refused memory
  HEARTH_ERROR_INTERNAL = 12,    // anything else; the message says what
  HEARTH_ERROR_DEVICE = 13       // a GPU failed, or there is none that can be used
};

// "HEARTH_ERROR_BUDGET"; of a number that is no status, "unknown status".
HEARTH_API const char* hearth_status_name(hearth_status status);

// One line on the last call on this thread that did not return HEARTH_OK: what, where, and what to
// do about it. "" before there was one. Valid until the next such call on this thread. Handles that
// wander between threads keep their own: hearth_session_message().
HEARTH_API const char* hearth_message(void);

// Of the library that runs, which may be another than the header's: "0.1.0".
HEARTH_API const char* hearth_version(void);

#ifdef __cplusplus
}
#endif
