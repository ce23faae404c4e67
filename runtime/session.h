// Session: one timeline on an engine. Owns what computes its steps, with keys and values, recurrent
// state and working memory. One thread at a time; the engine must outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/ids.h"
#include "runtime/engine.h"
#include "runtime/step_runner.h"

namespace hearth::runtime {

class Session {
 public:
  explicit Session(Engine& engine);

  // Appends tokens to the timeline, in chunks of at most the plan's batch, and hands out the logits
  // after each token from index `first_logits` of `tokens` on; rows are numbered by position in
  // `tokens`. Throws Error(kBadInput) for a token outside the vocabulary or when the context is
  // full, and what a step throws. A recurrent state is then torn: the session must be reset.
  void evaluate(std::span<const TokenId> tokens, std::size_t first_logits, LogitsSink sink);
  // The logits after the last token; valid until the next call.
  std::span<const float> evaluate(std::span<const TokenId> tokens);

  // Throws what evaluate() would before it computes anything.
  void check(std::span<const TokenId> tokens) const;
  // A step failed that had changed the recurrent state: only reset() helps.
  bool torn() const { return torn_; }

  // Back to an empty timeline, with the logits of a new session (runtime/kv_cache.h); experts stay
  // where they are.
  void reset();
  // Back to a position that can_rewind(), with the logits it would have had without what came after
  // it (runtime/kv_cache.h). One at most most_rewind() before this one can where the session never
  // was further, a step that failed included, and was not resumed in between.
  void rewind(std::uint32_t position);
  bool can_rewind(std::uint32_t position) const;
  // None where layers are recurrent: these remember the newest state alone.
  std::uint32_t most_rewind() const { return recurrent_ ? 0 : engine_.plan().batch; }
  // An empty timeline followed by that many positions of random keys and values, which nothing
  // computed: for measurements of speed (runtime/random_cache.h). Throws Error(kBadInput) when the
  // context is shorter.
  void fill_at_random(std::uint32_t positions, std::uint64_t seed);
  // All bytes that the tokens before `position` left: what a session file holds
  // (runtime/session_file.h), the same wherever steps are computed. They are given to `write`, or
  // asked of `read`, in order and in pieces of any size. resume() goes on from there, once they are
  // in place.
  Bytes state_bytes(std::uint32_t position) const;
  void save_state(std::uint32_t position,
                  FunctionRef<void(std::span<const std::byte>)> write) const;
  void load_state(std::uint32_t position, FunctionRef<void(std::span<std::byte>)> read);
  void resume(std::uint32_t position);
  std::uint32_t position() const { return position_; }
  std::uint32_t context() const { return engine_.plan().context; }
  std::span<const std::byte> memory() const { return runner_->memory(); }

  // Sees every routing decision from now on, after the listeners that are there already.
  void on_routed(std::function<void(const profiler::Routing&)> listener) {
    listeners_.push_back(std::move(listener));
  }
  // Takes experts from there instead of from the routers; null: from the routers again. It must
  // outlive its use, and have a row for every position that is evaluated.
  void force_routing(const ForcedRouting* routing) { forced_routing_ = routing; }
  const StepTimes& times() const { return runner_->times(); }
  std::uint64_t steps() const { return steps_; }

 private:
  void check_room(std::size_t positions) const;
  bool resumed_with_what_is_read_at(std::uint32_t position) const;

  Engine& engine_;
  const bool recurrent_;  // some layers remember what they cannot forget
  std::unique_ptr<StepRunner> runner_;
  std::uint32_t position_ = 0;
  std::uint32_t reached_ = 0;  // since it was empty; rows before this may have replaced others
  std::uint32_t resumed_ = 0;  // of these positions only what the next one reads is there
  bool torn_ = false;
  std::uint64_t steps_ = 0;
  std::vector<std::function<void(const profiler::Routing&)>> listeners_;
  const ForcedRouting* forced_routing_ = nullptr;
};

}  // namespace hearth::runtime
