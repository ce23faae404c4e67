// libhearth: Mixture-of-Experts language models that are larger than memory.
//
//   hearth_engine *engine;                       a model file, and the memory it was given
//   hearth_session *session;                     one text that grows, token by token
//   hearth_engine_open("model.gguf", NULL, &engine);
//   hearth_session_open(engine, &session);
//   hearth_tokenize(engine, text, strlen(text), HEARTH_ADD_SPECIAL, tokens, 512, &count);
//   hearth_session_evaluate(session, tokens, count, NULL);
//   hearth_session_generate(session, NULL, print_text, NULL, NULL);
//
// Experts that do not fit the memory are read from the file when they are wanted. Where they lie,
// what computes, with how many threads, and who else uses the engine changes how long it takes, and
// no logit: the same tokens give the same bits.
//
// Conventions (structs with a size, status codes, messages): hearth/status.h; the codes are named
// without their HEARTH_ERROR_ below. In whole programs: examples/. In C++ with destructors and
// exceptions: hearth/hearth.hpp.
//
// Messages are those of the command, and name its flags: --ram is the option `ram`, --expert-ram
// expert_ram. Of other names: --ctx-size is context, --batch-size batch, --cache-type-k key_format,
// --cache-type-v value_format, --chat-template template_name or template_source. A device of NULL
// is --device none, and bytes may be told in KiB or MiB.
//
// Threads. An engine may be used by any number of threads at a time, its sessions by one each. A
// session belongs to no thread: it may wander. hearth_session_cancel() alone may be called while
// another thread is in a call of the same session. Profiles and plans are used by one thread at a
// time. Sessions of one engine share its experts and its compute threads, and so take turns, in the
// order in which they ask: a turn is one generated token, or one chunk of a prompt (options.batch
// tokens). Calls that need the engine to themselves say "takes a turn". Drivers keep for each
// thread which GPU its calls are for: where an engine has one, opening it, closing it and turns
// make it that of the thread.
#pragma once

#include <hearth/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hearth_engine hearth_engine;    // immutable but for where experts lie
typedef struct hearth_session hearth_session;  // one timeline
typedef struct hearth_profile hearth_profile;  // how often each expert was chosen
typedef struct hearth_plan hearth_plan;        // what would lie where, to the byte

// ---- Devices ------------------------------------------------------------------------------------

typedef struct hearth_device_facts {
  size_t size;
  const char* name;          // for hearth_engine_options.device: "cuda0"
  const char* model;         // "NVIDIA GeForce RTX 4090"
  const char* architecture;  // "sm_89"
  const char* driver;        // "CUDA 13.0"
  uint64_t memory;           // all of it
} hearth_device_facts;

// The facts belong to the call.
typedef void (*hearth_on_device)(void* user, const hearth_device_facts* device);

// Calls on_device for each GPU that this library can compute on. Where there is none:
// HEARTH_ERROR_DEVICE, with what is missing as its message. By any thread, at any time.
HEARTH_API hearth_status hearth_list_devices(hearth_on_device on_device, void* user);

// ---- Engine -------------------------------------------------------------------------------------

typedef struct hearth_engine_options {
  size_t size;
  // At most one of these two and expert_share; none: nine tenths of the memory that is free now.
  uint64_t ram;         // for everything, the process included
  uint64_t expert_ram;  // for experts alone
  uint32_t context;     // positions of each session; 0: what the model was trained on, at most 4096
  uint32_t batch;       // tokens of a prompt computed at once, more or fewer, up to 65536; 0: 512
  uint32_t threads;     // that compute, up to 1024; 0: one for each core that may be used
  int32_t no_prefetch;  // 1: experts are read only when a router has chosen them
  const char* policy;   // which expert makes room; NULL: chosen by the plan. "lru", ...
  const char* key_format;    // of the cache of keys, "f16" if NULL; "q8_0", ...
  const char* value_format;  // likewise of values
  const char* io;  // how files are read: "uring", "pread"; NULL: $HEARTH_IO, or what works best
  // Is read, not kept. Its experts are in memory before the first token.
  const hearth_profile* profile;
  // Is read, not kept. Takes the place of all options but io, page_cache and callbacks: the others
  // must be zero then.
  const hearth_plan* plan;
  // While weights are read; other than 0 stops it, and hearth_engine_open() with HEARTH_STOPPED.
  int32_t (*on_progress)(void* user, uint64_t bytes_done, uint64_t bytes_in_all);
  // What was decided and a person may want to know, line by line, before the engine is there.
  void (*on_note)(void* user, const char* line);
  void* user;
  // What computes. NULL, "none": the CPU. "auto": the first GPU, where there is one and the model
  // fits it; else the CPU. Else a name of hearth_list_devices().
  const char* device;
  // For everything on the device, the driver's part included; 0: all that is free. Beside "auto" it
  // says that there must be a GPU.
  uint64_t vram;
  // What hearth doctor measured of that device: says which experts are fetched to it, and which the
  // CPU computes; without it the latter are all that it does not hold. NULL: the file that hearth
  // doctor writes by default, where it is there and of this device.
  const char* machine;
  float expert_share;      // instead of expert_ram: of the bytes of all experts, up to 1
  int32_t kv_tail;         // newest positions in f16 beside a quantized format: 0: 128, -1: none
  int32_t no_kv_rotation;  // 1: quantized keys and values are not rotated before
  int32_t page_cache;      // 1: files are read through it; 0: past it where the file system can
  // Who serves experts that are in RAM and not on the device. NULL, "auto": as was measured.
  // "link": they are fetched, as far as slots allow. "cpu": the CPU computes them, and slots keep
  // what they have. Beside "auto" of device, these two say that there must be a GPU.
  const char* misses;
  // Who decides which experts a device fetches, and into which slots. NULL, "device": its kernels.
  // "host": the host, which waits for the device in each layer: slow, for finding faults. Logits
  // are the same. Beside "auto" of device it says that there must be a GPU.
  const char* gpu_cache;
  // What has to change while the engine is used, and a person may want to know, line by line: slots
  // of experts that made room on the device for keys and values, graphs or another session, and
  // those that are there again. With `user`, which stays valid until the engine is closed, by the
  // thread whose call it is: hearth_session_open(), and whatever computes, rewinds or loads a
  // session. In a turn, so that it calls nothing that takes one.
  void (*on_notice)(void* user, const char* line);
} hearth_engine_options;

// Reads the dense weights of a GGUF file (of a split model: of its first part) and takes all the
// memory that the engine ever will, that of the device included; a session takes its own when it is
// opened. `options` may be null. Errors: NOT_FOUND, IO, BAD_FILE, UNSUPPORTED, BUDGET with the
// least that works, USAGE, and DEVICE: no such device, or it failed.
HEARTH_API hearth_status hearth_engine_open(const char* model_path,
                                            const hearth_engine_options* options,
                                            hearth_engine** engine);

// HEARTH_ERROR_STATE, and nothing is closed, while sessions of it are open. Null is HEARTH_OK.
HEARTH_API hearth_status hearth_engine_close(hearth_engine* engine);

typedef struct hearth_engine_facts {
  size_t size;
  uint32_t vocabulary;         // tokens are 0 to vocabulary - 1
  uint32_t context;            // positions of a session
  uint32_t batch;              // tokens of a turn
  uint32_t threads;            // that compute
  uint32_t layers;             // of the model
  uint32_t experts;            // of all layers
  uint32_t experts_per_layer;  // of the layer that has most
  uint32_t experts_used;       // by a token in a layer
  uint64_t expert_bytes;       // of all of them, in the file
  uint64_t least_expert_ram;   // that works; see hearth_engine_set_expert_ram()
  uint64_t session_bytes;      // of memory that a session takes
  const char* architecture;
  const char* policy;
  const char* io;
  const char* instructions;  // "avx512", ...: the most that runs here, or $HEARTH_CPU
  // With a device; else null and zero.
  const char* device;     // its name
  uint64_t vram;          // that was planned, with one session
  uint64_t session_vram;  // that a session takes; session_bytes are then beside it, and pinned
  uint64_t expert_vram;   // of slots, as the engine was opened
  uint32_t vram_slots;    // experts that have room there
  uint32_t all_in_vram;   // 1: all have, and for good
} hearth_engine_facts;

// What was decided; does not change. The texts belong to the engine.
HEARTH_API hearth_status hearth_engine_facts_of(const hearth_engine* engine,
                                                hearth_engine_facts* facts);

// Gives memory of experts back to the system, or takes it again: as many whole experts as `bytes`
// hold stay, those that the policy likes best, and at most as many as the engine was opened with;
// hearth_telemetry.expert_ram then says how much it is. Takes a turn, so that it begins after the
// token, or chunk, that is being computed, and it is done when the call returns. Less than
// least_expert_ram is HEARTH_ERROR_BUDGET, and so is memory that the system does not give any more;
// then nothing has changed. Logits do not change. An engine that had room for all experts does not
// prefetch, also when it has less.
HEARTH_API hearth_status hearth_engine_set_expert_ram(hearth_engine* engine, uint64_t bytes);

// The same of the device's memory: at most `bytes` of slots stay, at most as many as the engine was
// opened with, and hearth_telemetry.expert_vram says how many. It may be none: what has no slot is
// fetched from RAM, or computed by the CPU. Memory goes back to the driver in pieces of at most 64
// MiB for each size of experts. Where new slots are to be filled from disk, IO and BAD_FILE are
// possible. Takes a turn. HEARTH_ERROR_USAGE where the CPU computes; HEARTH_ERROR_STATE where all
// experts are in VRAM for good: options.vram below facts.vram leaves a choice.
HEARTH_API hearth_status hearth_engine_set_expert_vram(hearth_engine* engine, uint64_t bytes);

// ---- Text and tokens (by any thread, at any time) -----------------------------------------------

enum {
  HEARTH_ADD_SPECIAL = 1,   // tokenize: begin of text (and end) where the model wants them
  HEARTH_PARSE_SPECIAL = 2  // tokenize: "<|im_end|>" is that token; detokenize: and is written out
};

// Writes at most `capacity` tokens; *count becomes the number of all. `tokens` may be null where
// `capacity` is 0. Any bytes are a text.
HEARTH_API hearth_status hearth_tokenize(const hearth_engine* engine, const char* text,
                                         size_t bytes, int32_t flags, int32_t* tokens,
                                         size_t capacity, size_t* count);

// Likewise, without a zero byte at the end. Characters may be cut off at both ends of the tokens.
HEARTH_API hearth_status hearth_detokenize(const hearth_engine* engine, const int32_t* tokens,
                                           size_t count, int32_t flags, char* text, size_t capacity,
                                           size_t* bytes);

// *ends: 1 for a token that ends a text or a turn, else 0.
HEARTH_API hearth_status hearth_token_ends(const hearth_engine* engine, int32_t token,
                                           int32_t* ends);

typedef struct hearth_chat_message {
  const char* role;     // "system", "user", "assistant"
  const char* content;  // text: where it spells a control token, it says it and is none
} hearth_chat_message;

typedef struct hearth_chat_options {
  size_t size;
  // A variant that the file has, or one that is built in; NULL: the file's own.
  const char* template_name;
  const char* template_source;   // a template itself (Jinja), instead of a name
  int32_t thinking;              // 1: asked for, -1: not wanted, 0: as the template has it
  int32_t no_generation_prompt;  // 1: ends after the last message
} hearth_chat_options;

// The conversation as the tokens the model was trained on, ready for the assistant's turn. A file
// without a template is HEARTH_ERROR_BAD_INPUT, and so is what the template refuses. `options` may
// be null. Written as by hearth_tokenize().
HEARTH_API hearth_status hearth_chat_prompt(const hearth_engine* engine,
                                            const hearth_chat_message* messages,
                                            size_t messages_count,
                                            const hearth_chat_options* options, int32_t* tokens,
                                            size_t capacity, size_t* count);

// ---- Session ------------------------------------------------------------------------------------

// Takes session_bytes, and session_vram; HEARTH_ERROR_BUDGET where the system, or the device, does
// not give them. options.vram has room for one session: others take theirs beside it. With a
// device, this and the next and hearth_session_rewind() take a turn.
HEARTH_API hearth_status hearth_session_open(hearth_engine* engine, hearth_session** session);
// No call of it may be under way. Null is HEARTH_OK.
HEARTH_API hearth_status hearth_session_close(hearth_session* session);
// As hearth_message(), of the last call with this session that failed, on whichever thread; "" for
// null. Valid until the next call with it.
HEARTH_API const char* hearth_session_message(const hearth_session* session);

// HEARTH_ERROR_DEVICE, of this function or another, is a device that failed: it answers nothing any
// more. Closing works as ever, and so do engines without it.

// Appends tokens to the timeline. *logits, unless `logits` is null, becomes the vocabulary's logits
// after the last of them; they belong to the session, until its next call.
// Takes a turn for each chunk. BAD_INPUT, and nothing is appended, for a token outside of the
// vocabulary or more than the context has room for. Stopped, or with an error of the disk, the
// timeline ends with the last whole chunk: hearth_session_tokens(). Where layers are recurrent, an
// error (but not a stop) tears what they remember: HEARTH_ERROR_STATE until hearth_session_rewind()
// to 0.
HEARTH_API hearth_status hearth_session_evaluate(hearth_session* session, const int32_t* tokens,
                                                 size_t count, const float** logits);

// Other than 0 stops: the call returns HEARTH_STOPPED after the chunk. `logits` are those after
// tokens[index], vocabulary of them, and valid in the callback alone, which is called in a turn.
typedef int32_t (*hearth_on_logits)(void* user, size_t index, const float* logits);
// Likewise, with the logits after each token.
HEARTH_API hearth_status hearth_session_evaluate_each(hearth_session* session,
                                                      const int32_t* tokens, size_t count,
                                                      hearth_on_logits on_logits, void* user);

typedef struct hearth_generation {
  size_t size;
  uint32_t most_tokens;  // 0: as many as there is room for
  int32_t ignore_end;    // 1: goes on after a token that ends the text
  int32_t show_special;  // 1: control tokens have a text, too
  // Sampling: all zero takes the most likely token each time. Otherwise, in this order:
  float repeat_penalty;  // 0 or 1: off
  float presence_penalty;
  float frequency_penalty;
  int32_t repeat_last;  // tokens that are penalized: -1 all, 0: 64
  int32_t top_k;        // 0: off
  float top_p;          // 0 or 1: off
  float min_p;          // 0: off
  float temperature;    // 0: the most likely
  int32_t reserved;     // zero
  // Of the draws. 0: they go on where the session's last generation ended, also when it was saved
  // and loaded in between; those of a new session begin anywhere.
  uint64_t seed;
} hearth_generation;

typedef enum hearth_end {
  HEARTH_END_OF_TEXT = 0,  // the model ended it
  HEARTH_END_LIMIT = 1,    // most_tokens
  HEARTH_END_CONTEXT = 2,  // the context is full
  HEARTH_END_STOPPED = 3   // by the callback, or cancelled: then the status is HEARTH_STOPPED
} hearth_end;

typedef struct hearth_generated {
  size_t size;
  uint64_t tokens;  // given to on_token
  int32_t end;      // a hearth_end
  int32_t reserved;
} hearth_generated;

// A token and the `bytes` of text it stands for: maybe none, maybe a part of a character; no zero
// byte follows. Other than 0 stops. Not in a turn: it may use other sessions, and the engine.
typedef int32_t (*hearth_on_token)(void* user, int32_t token, const char* text, size_t bytes);

// Goes on from the logits of the last call: samples a token, gives it to on_token, appends it,
// until something ends it. The token at which on_token stops, and one that ends the text, are not
// appended. Takes a turn for each token. `generation` may be null, and `result`, which is filled
// whatever is returned. HEARTH_ERROR_STATE where there are no logits: before anything was
// evaluated, after a rewind, and after an evaluation that failed, or was stopped otherwise than by
// its on_logits.
HEARTH_API hearth_status hearth_session_generate(hearth_session* session,
                                                 const hearth_generation* generation,
                                                 hearth_on_token on_token, void* user,
                                                 hearth_generated* result);

// From any thread: the call of this session that is under way, or else the next evaluation or
// generation, returns HEARTH_STOPPED, within one token, also out of the queue for a turn. Of a
// prompt, the chunk is given up in the layer in which it is; only where layers are recurrent, and
// on a device, whose chunks are short, it is computed to its end.
HEARTH_API hearth_status hearth_session_cancel(hearth_session* session);

// The timeline: *count tokens, which belong to the session until its next call.
HEARTH_API hearth_status hearth_session_tokens(const hearth_session* session,
                                               const int32_t** tokens, size_t* count);

// The first `position` tokens stay. Always possible for 0 and for the whole. Where keys and values
// are not quantized, for all else; where they are, for the newest `batch` positions, counted from
// the furthest that an evaluation of this timeline came, a chunk that was stopped or failed
// included, and not into those that hearth_session_load() brought but for the last few; but where
// layers are recurrent, for no other: HEARTH_ERROR_STATE. What is not there: HEARTH_ERROR_USAGE.
// There are no logits until something is evaluated, unless all stays.
HEARTH_API hearth_status hearth_session_rewind(hearth_session* session, size_t position);

// A file from which a session of the same model with the same formats of keys and values goes on as
// if there had been no end, in this program or another. HEARTH_ERROR_STATE where a session has no
// logits to go on from. Takes a turn.
HEARTH_API hearth_status hearth_session_save(hearth_session* session, const char* path);
// In place of what the session holds; also the experts that were in memory return. With an error
// the timeline is empty. Takes a turn.
HEARTH_API hearth_status hearth_session_load(hearth_session* session, const char* path);

// What a router decided for the tokens of a turn; belongs to the callback's call.
typedef struct hearth_routing {
  size_t size;
  uint32_t layer;
  uint32_t position;        // of the first token in the timeline
  uint32_t tokens;          // rows of the two tables
  uint32_t experts_used;    // columns of the two tables
  const uint16_t* experts;  // by descending score
  const float* weights;
} hearth_routing;

// Every decision in this session, in the thread of its calls; null: none any more. A callback must
// not call the session, nor what takes a turn.
typedef void (*hearth_on_routing)(void* user, const hearth_routing* routing);
HEARTH_API hearth_status hearth_session_on_routing(hearth_session* session,
                                                   hearth_on_routing on_routing, void* user);

// ---- Profiles: what was learned of the routing --------------------------------------------------

// An empty one for the engine's model.
HEARTH_API hearth_status hearth_profile_make(const hearth_engine* engine, hearth_profile** profile);
HEARTH_API hearth_status hearth_profile_load(const char* path, hearth_profile** profile);
HEARTH_API hearth_status hearth_profile_save(const hearth_profile* profile, const char* path);
HEARTH_API hearth_status hearth_profile_close(hearth_profile* profile);

// Counts what this session routes from now on, under the name of a workload, a label of at most
// 64 bytes; null: no longer. One session at a time counts into a profile (HEARTH_ERROR_STATE), and
// while one does, the profile is used only where that session is. The session keeps what it needs
// of it: either may be closed first. BAD_INPUT for a profile of another model. After an error it
// counts into what it did before.
HEARTH_API hearth_status hearth_session_record(hearth_session* session, hearth_profile* profile,
                                               const char* workload);

// Tokens that were counted.
HEARTH_API hearth_status hearth_profile_tokens(const hearth_profile* profile, uint64_t* tokens);
// How many tokens chose each expert of a layer: as by hearth_tokenize(). None of a layer without
// experts.
HEARTH_API hearth_status hearth_profile_uses(const hearth_profile* profile, uint32_t layer,
                                             uint64_t* uses, size_t capacity, size_t* count);

// ---- Plans: what will be taken, before it is ----------------------------------------------------

// What hearth_engine_open() would decide with these options, from the header of the file; nothing
// is loaded. The options are as there, without a plan; and without a device (HEARTH_ERROR_USAGE),
// for a plan is what lies in RAM where the CPU computes.
HEARTH_API hearth_status hearth_plan_make(const char* model_path,
                                          const hearth_engine_options* options, hearth_plan** plan);
HEARTH_API hearth_status hearth_plan_load(const char* path, hearth_plan** plan);
HEARTH_API hearth_status hearth_plan_save(const hearth_plan* plan, const char* path);
HEARTH_API hearth_status hearth_plan_close(hearth_plan* plan);

typedef struct hearth_plan_facts {
  size_t size;
  uint64_t total;  // the sum of these, with one session
  uint64_t process;
  uint64_t dense;
  uint64_t keys_and_values;
  uint64_t recurrent_state;
  uint64_t scratch;
  uint64_t experts;
  uint32_t expert_slots;  // experts that fit
  uint32_t all_experts;
  uint32_t context;
  uint32_t batch;
  uint32_t threads;
  uint32_t first_experts;  // that are read before the first token: what the profile likes best
  const char* policy;      // belongs to the plan
  // Of a plan that hearth plan made for a GPU, which no engine takes; else zero.
  uint64_t vram;        // the sum of what lies there
  uint32_t vram_slots;  // experts that fit
  uint32_t reserved;    // zero
} hearth_plan_facts;

HEARTH_API hearth_status hearth_plan_facts_of(const hearth_plan* plan, hearth_plan_facts* facts);

// ---- Telemetry ----------------------------------------------------------------------------------

typedef struct hearth_telemetry {
  size_t size;
  // Since the engine was opened, all sessions together.
  uint64_t ram_hits;         // routed experts that were in memory, or on their way
  uint64_t disk_hits;        // routed experts that had to be read
  uint64_t evictions;        // experts that made room
  uint64_t prefetches;       // experts that were read on a guess; with a device, vram_prefetches
  uint64_t prefetches_used;  // of those, chosen later
  uint64_t disk_bytes;       // that were read, dense weights included
  uint64_t expert_bytes;     // of experts that were read
  uint64_t disk_stall_ns;    // the computation waited for an expert
  // Now.
  uint64_t expert_ram;  // of slots, at most what the engine was opened with
  uint32_t expert_slots;
  uint32_t resident;  // experts in memory
  // With a device, since the engine was opened; ram_hits and disk_hits are then of the experts that
  // the CPU computed.
  uint64_t vram_hits;       // routed experts that were on the device
  uint64_t vram_fetches;    // routed experts that it fetched from RAM
  uint64_t cpu_experts;     // routed experts that the CPU computed
  uint64_t vram_evictions;  // experts that made room there
  uint64_t vram_peak;       // the most of its memory in use at once, other programs' included
  // Now.
  uint64_t expert_vram;  // of slots, at most what the engine was opened with
  uint32_t vram_slots;
  uint32_t reserved;  // zero
  // With a device, since the engine was opened.
  uint64_t vram_prefetches;       // experts that it took from RAM on a guess
  uint64_t vram_prefetches_used;  // of those, chosen later
  uint64_t link_bytes;  // of experts: fetched, on a guess, or for a chunk of a prompt and not kept
} hearth_telemetry;

// Takes a turn. `layer` of the second: what has no meaning for a layer alone is zero.
HEARTH_API hearth_status hearth_engine_telemetry(hearth_engine* engine,
                                                 hearth_telemetry* telemetry);
HEARTH_API hearth_status hearth_engine_layer_telemetry(hearth_engine* engine, uint32_t layer,
                                                       hearth_telemetry* telemetry);

typedef struct hearth_session_times {
  size_t size;
  uint64_t turns;
  uint64_t total_ns;      // of turns
  uint64_t attention_ns;  // of that, and so on; on a device, which runs a step as a whole, zero
  uint64_t experts_ns;    // with what they waited for the disk
  uint64_t dense_ns;
  uint64_t logits_ns;
  uint64_t turn_stall_ns;  // beside total_ns: waited for the turns of others
} hearth_session_times;

HEARTH_API hearth_status hearth_session_times_of(const hearth_session* session,
                                                 hearth_session_times* times);

#ifdef __cplusplus
}
#endif
