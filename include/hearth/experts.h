// The expert store of libhearth alone, for programs with a graph and kernels of their own: it keeps
// the experts of a mixture in little memory and reads the others when they are wanted. Nothing of a
// model is run, and no tokenizer, architecture or metadata has to be known.
//
//   hearth_experts_options options = {0};
//   options.size = sizeof options;
//   options.ram = 8ull << 30;
//   hearth_experts_open("model.gguf", &options, &experts);
//   for each token, for each layer:
//     hearth_experts_observe(experts, layer, ids, weights, 1, top_k);
//     hearth_experts_acquire(experts, layer, ids, top_k, &lease);
//     hearth_lease_wait(lease);
//     hearth_lease_memory(lease, rank, &memory);           // memory.part[0] is the gate matrix
//     compute;
//     hearth_lease_release(lease, NULL);
//
// A whole program: examples/foreign_runner.cpp, whose loops are made of headers of this project
// that are not installed (kernels/). Conventions (structs with a size, status codes, messages):
// hearth/status.h.
//
// Threads. A store and its leases are used by one thread at a time, whichever; different stores by
// different threads. No thread works for the store: what is under way goes on, and what waits gets
// its turn, in the calls of the program. A program that computes for long calls
// hearth_experts_poll() in between.
//
// Memory. Everything is taken when the store is opened, and no call needs more in the long run. A
// store takes exactly the slots that its budgets hold.
#pragma once

#include <hearth/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hearth_experts hearth_experts;
typedef struct hearth_expert_lease hearth_expert_lease;

// The most parts of an expert.
#define HEARTH_EXPERT_PARTS 12

// ---- Devices ------------------------------------------------------------------------------------

// A GPU, say, as the program lends it: its memory, its streams and its events. The functions are
// called in the thread that calls the store, and must not call the store. Those that return a
// number return 0 when they succeeded. They stay valid until the store is closed.
//
// The order of things, as far as the store is concerned:
//  - All copies are enqueued on `copy_stream`, one after the other, which executes them in order.
//  - A copy into a slot is enqueued after the copy stream was told to wait for the events of all
//    leases of the expert that was there. So release a lease with the stream whose work reads it,
//    after that work was enqueued; where several streams read it, join them first.
//  - hearth_lease_wait() returns when the copies are enqueued, not when they are done. Streams that
//    read the experts are to wait for hearth_lease_event() first, or the program for
//    hearth_lease_ready().
//  - Memory of the host that a copy reads is not overwritten before the copy's event was reached.
//  - The store synchronizes with the device only where it needs memory that a copy still reads: in
//    hearth_experts_acquire(), hearth_lease_wait(), hearth_experts_set_budget(),
//    hearth_experts_import() and when it closes.
//
// A copy that fails is the error of those leases alone that want the expert, and the next one is
// tried again. An event that is refused is HEARTH_ERROR_BUDGET of the call that needs it, which may
// be called again; events are used again, and releasing a lease needs none that acquiring it did
// not take. After an event that fails all calls but the release of leases and the closing of the
// store are HEARTH_ERROR_IO; it then waits for nothing, and frees everything.
typedef struct hearth_device {
  size_t size;
  void* user;         // the first argument of all functions
  void* copy_stream;  // on which the program enqueues nothing
  // Null: refused. Aligned to 256 bytes.
  void* (*alloc)(void* user, uint64_t bytes);
  void (*free)(void* user, void* memory);
  // Host memory that the device copies from without a detour ("pinned"), aligned to 4096 bytes.
  // Both null: the store takes ordinary memory.
  void* (*alloc_host)(void* user, uint64_t bytes);
  void (*free_host)(void* user, void* memory);
  // Host to device, asynchronous.
  int32_t (*copy)(void* user, void* destination, const void* source, uint64_t bytes, void* stream);
  void* (*event_make)(void* user);  // null: refused
  void (*event_free)(void* user, void* event);
  int32_t (*event_record)(void* user, void* event, void* stream);  // reached after all before it
  int32_t (*event_wait)(void* user, void* stream, void* event);    // the stream waits, not the host
  int32_t (*event_query)(void* user, void* event);                 // 1: not reached yet
  int32_t (*event_synchronize)(void* user, void* event);           // the host waits
} hearth_device;

// ---- Opening ------------------------------------------------------------------------------------

typedef struct hearth_experts_options {
  size_t size;
  uint64_t ram;                 // for slots in RAM; to be said
  uint64_t device_memory;       // for slots on the device; to be said if there is one
  const hearth_device* device;  // is read, not kept; null: leases are memory of the host
  const char* policy;  // which expert makes room: "lru", ...; null: what is best in general
  uint32_t at_once;    // experts of a layer that are acquired together; 0: 1
  int32_t page_cache;  // 1: read through the system's cache of files
  const char* io;      // "uring", "pread"; null: what works best here
} hearth_experts_options;

// Opens the experts of a GGUF file (of a split model: of its first part): all tensors
// blk.N.ffn_{gate,up,down,gate_up}_exps.weight. Parts 0, 1, 2 of an expert are its gate, up and
// down matrices as they lie in the file. Errors: NOT_FOUND, IO, BAD_FILE, UNSUPPORTED; BUDGET with
// the least that works; MEMORY; USAGE.
HEARTH_API hearth_status hearth_experts_open(const char* gguf_path,
                                             const hearth_experts_options* options,
                                             hearth_experts** experts);

// A piece of an expert. Rows of the same expert are its parts, in the order of the table.
typedef struct hearth_expert_row {
  uint32_t layer;
  uint32_t expert;
  uint32_t file;      // of the table's files
  uint32_t has_hash;  // 1: `hash` is compared whenever the part is read, see hearth_lease_wait()
  uint64_t offset;
  uint64_t length;  // > 0
  uint64_t hash;    // XXH3 of the bytes, 64 bits, without a seed
} hearth_expert_row;

typedef struct hearth_expert_table {
  size_t size;
  const char* const* files;
  size_t files_count;
  const hearth_expert_row* rows;
  size_t rows_count;
} hearth_expert_table;

// Opens what a table lists; it is read, not kept. Experts may be missing in between, and are then
// out of range. BAD_FILE for a row that reaches past the end of its file; USAGE for a row whose
// file the table has not, without bytes, or one part too many. The rest as above.
HEARTH_API hearth_status hearth_experts_open_table(const hearth_expert_table* table,
                                                   const hearth_experts_options* options,
                                                   hearth_experts** experts);

// Waits for what is under way. HEARTH_ERROR_STATE, and nothing is closed, while leases are held.
// Null is HEARTH_OK.
HEARTH_API hearth_status hearth_experts_close(hearth_experts* experts);

typedef struct hearth_experts_facts {
  size_t size;
  uint32_t layers;             // of the model; some may have no experts
  uint32_t experts;            // of all layers
  uint32_t experts_per_layer;  // of the layer that has most
  uint32_t reserved;           // zero
  uint64_t bytes;              // of all experts, in the files
  uint64_t least_ram;          // the least budget that works, with this at_once
  uint64_t full_ram;           // the budget that holds every expert
  uint64_t least_device;       // likewise; zero without a device
  uint64_t full_device;
  const char* policy;  // belongs to the store, as the next
  const char* io;      // how files are read
} hearth_experts_facts;
HEARTH_API hearth_status hearth_experts_facts_of(const hearth_experts* experts,
                                                 hearth_experts_facts* facts);

typedef struct hearth_expert_matrix {
  uint32_t type;  // as in GGUF files
  uint32_t rows;
  uint32_t columns;
} hearth_expert_matrix;

typedef struct hearth_layer_facts {
  size_t size;
  uint32_t experts;           // ids are 0 to experts - 1; 0: the layer has none
  uint32_t matrices;          // 3 of a GGUF file, 0 of a table
  hearth_expert_matrix gate;  // what parts 0 to 2 of each expert are
  hearth_expert_matrix up;
  hearth_expert_matrix down;
} hearth_layer_facts;
HEARTH_API hearth_status hearth_experts_layer(const hearth_experts* experts, uint32_t layer,
                                              hearth_layer_facts* facts);

// ---- Every layer of every token -----------------------------------------------------------------

// What a router decided for `tokens` tokens, `used` experts each by descending score: from this the
// policy learns, and hits and misses are counted. Before what it decided is acquired, and once. A
// layer that does not come after the last one begins a new step. `weights` may be null. USAGE for
// ids that are out of range.
HEARTH_API hearth_status hearth_experts_observe(hearth_experts* experts, uint32_t layer,
                                                const int32_t* ids, const float* weights,
                                                size_t tokens, size_t used);

// Guesses what will be acquired soon, the likeliest first. Those with the earliest deadline begin
// first, while fewer than four experts are on their way, and never take memory that was used in
// this step or the one before. What has not begun `deadline_ns` from now is dropped; 0: it never
// is. A guess that fails is forgotten.
HEARTH_API hearth_status hearth_experts_hint(hearth_experts* experts, uint32_t layer,
                                             const int32_t* ids, size_t count,
                                             uint64_t deadline_ns);

// Pins experts and begins to read those that are absent. Ids may repeat. Until the lease is
// released they are neither evicted nor overwritten. BUDGET, and nothing is leased, where more is
// acquired than there are slots that are not leased already: acquire fewer at a time. Waits only
// for slots that guesses are being read into. USAGE for ids that are out of range.
HEARTH_API hearth_status hearth_experts_acquire(hearth_experts* experts, uint32_t layer,
                                                const int32_t* ids, size_t count,
                                                hearth_expert_lease** lease);

// Waits until all of the lease is there; on a device, until all copies are enqueued. IO, and
// BAD_FILE for a hash that is wrong, with file and expert: the lease remains, to be released, and
// an expert is read again when it is acquired after that.
HEARTH_API hearth_status hearth_lease_wait(hearth_expert_lease* lease);

// Without waiting: *ready becomes 1 where ids[index] is there, on a device also for the host. Then
// it can be used before the others. Errors as above, of this expert.
HEARTH_API hearth_status hearth_lease_ready(hearth_expert_lease* lease, size_t index,
                                            int32_t* ready);

// What streams are to wait for before they read the lease; null if there is nothing to wait for, as
// always without a device. Valid until the lease is released. STATE before hearth_lease_wait().
HEARTH_API hearth_status hearth_lease_event(hearth_expert_lease* lease, void** event);

typedef struct hearth_expert_memory {
  size_t size;
  uint32_t slot;  // slots of one size are neighbours, of slot_bytes each: on a device, a part of
                  // another expert of the layer lies (slots between them) * slot_bytes away
  uint32_t parts;
  uint64_t slot_bytes;
  const void* part[HEARTH_EXPERT_PARTS];
  uint64_t bytes[HEARTH_EXPERT_PARTS];
} hearth_expert_memory;

// Where ids[index] is: in RAM at any address, on a device at multiples of 256 bytes. To be read
// alone. STATE before it is there (see the two above).
HEARTH_API hearth_status hearth_lease_memory(hearth_expert_lease* lease, size_t index,
                                             hearth_expert_memory* memory);

// Gives the lease back, also one that failed. `stream`: whose work so far may read it; of no
// meaning without a device. A lease that was released is STATE, until the store hands it out again.
HEARTH_API hearth_status hearth_lease_release(hearth_expert_lease* lease, void* stream);

// Takes note of what arrived and keeps disk and copies going. Never waits.
HEARTH_API hearth_status hearth_experts_poll(hearth_experts* experts);

// ---- Budgets, plans, counters -------------------------------------------------------------------

typedef int32_t hearth_tier;  // one of these; a caller may pass what it likes
enum { HEARTH_TIER_RAM = 0, HEARTH_TIER_DEVICE = 1 };

// Gives memory back, or takes it again, up to what the store was opened with. In RAM experts stay
// as far as there are slots, by choice of the policy; on a device all of them leave. Memory that
// the store took from the system returns to it; that of hearth_device is kept, and not used. Waits
// for reads and copies. STATE while leases are held; BUDGET, and nothing changes, outside of what
// works.
HEARTH_API hearth_status hearth_experts_set_budget(hearth_experts* experts, hearth_tier tier,
                                                   uint64_t bytes);

// Which experts are where, those first that were used most, as text (TOML): at most `capacity`
// bytes are written, without a zero byte; *bytes becomes the length of all. `text` may be null
// where `capacity` is 0.
HEARTH_API hearth_status hearth_experts_export(const hearth_experts* experts, char* text,
                                               size_t capacity, size_t* bytes);

// Reads what such a text names into free slots, as far as there are any, and waits for it. *placed,
// unless `placed` is null, becomes the number of experts that were read. BAD_FILE for a text that
// is none; BAD_INPUT for one of other experts; IO.
HEARTH_API hearth_status hearth_experts_import(hearth_experts* experts, const char* text,
                                               size_t bytes, uint64_t* placed);

typedef struct hearth_experts_counters {
  size_t size;
  // Since the store was opened.
  uint64_t hits;          // observed experts that were there, or on their way; each decision once
  uint64_t misses;        // that were not; with a device, RAM counts what the device had not
  uint64_t evictions;     // experts that made room
  uint64_t guesses;       // that were read
  uint64_t guesses_used;  // of those, observed later
  uint64_t guesses_late;  // that were dropped after their deadline; counted with RAM
  uint64_t guesses_dropped;  // for lack of memory; likewise
  uint64_t bytes_moved;      // of experts: from the disk, or to the device
  uint64_t stall_ns;         // waited for them
  // Now.
  uint64_t memory;  // of slots
  uint32_t slots;
  uint32_t resident;
  uint32_t leased;
  uint32_t reserved;
} hearth_experts_counters;

#define HEARTH_ALL_LAYERS UINT32_MAX
// Of one layer: what has no meaning for a layer alone is zero. Without a device HEARTH_TIER_DEVICE
// is USAGE.
HEARTH_API hearth_status hearth_experts_count(const hearth_experts* experts, hearth_tier tier,
                                              uint32_t layer, hearth_experts_counters* counters);

#ifdef __cplusplus
}
#endif
