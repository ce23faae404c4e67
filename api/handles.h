// What the opaque types of the C API are.
#pragma once

#include <hearth/hearth.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "api/arguments.h"
#include "api/status.h"
#include "api/turns.h"
#include "base/clock.h"
#include "base/opening_process.h"
#include "profiler/expert_profile.h"
#include "profiler/placement_plan.h"
#include "runtime/session.h"
#include "runtime/session_file.h"

namespace hearth::border {

// Kept alive by its handle and by the session that counts into it.
struct Counting {
  profiler::ExpertProfile counted;                    // but for what `recorder` knows better
  std::optional<profiler::ProfileRecorder> recorder;  // while a session counts
  profiler::ExpertProfile now() const { return recorder ? recorder->profile() : counted; }
};

}  // namespace hearth::border

struct hearth_engine {
  explicit hearth_engine(const hearth::runtime::EngineOptions& options);

  void check_process() const;  // Misuse in one that was forked from the engine's

  const hearth::OpeningProcess process;
  hearth::runtime::Engine engine;
  const std::string io;            // what engine.io_description() said at the start
  const std::string instructions;  // of the kernels
  const bool recurrent;            // some layers remember what they cannot forget
  hearth::border::Turns turns;
  std::atomic<std::uint32_t> sessions{0};
};

struct hearth_session {
  explicit hearth_session(hearth_engine& engine);

  // Every decision of a router: to the profile, and to whoever listens.
  void routed(const hearth::profiler::Routing& routing);
  void check_cancelled();
  // In turns of a chunk each; throws Stopped. The timeline grows with every chunk.
  void evaluate(std::span<const hearth::TokenId> tokens, std::size_t first_logits,
                hearth::runtime::LogitsSink sink);
  void stop_counting();

  hearth_engine& owner;
  hearth::runtime::Session session;
  hearth::runtime::Timeline timeline;  // its logits: of a file
  std::span<const float> logits;       // after the last token; empty: there are none
  hearth::Nanoseconds turn_stall{0};
  std::atomic<bool> cancelled{false};
  std::atomic<bool> in_call{false};
  std::string message;

  hearth_on_routing on_routing = nullptr;
  void* routing_user = nullptr;
  std::shared_ptr<hearth::border::Counting> counting;
};

struct hearth_profile {
  std::shared_ptr<hearth::border::Counting> counting;
};

struct hearth_plan {
  hearth::profiler::PlacementPlan plan;
};

namespace hearth::border {

// One call of a session at a time; Misuse for a second.
class Call {
 public:
  explicit Call(hearth_session& session) : session_(session) {
    session.owner.check_process();
    if (session.in_call.exchange(true, std::memory_order_acquire))
      throw Misuse(HEARTH_ERROR_STATE,
                   "another call of this session is under way; a session does one thing at a time");
  }
  ~Call() { session_.in_call.store(false, std::memory_order_release); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

 private:
  hearth_session& session_;
};

// A turn, and the engine's device, where it has one, is that of this thread.
class EngineTurn {
 public:
  explicit EngineTurn(hearth_engine& engine, std::atomic<bool>* cancelled = nullptr);

 private:
  const Turn turn_;
};

void keep_message(hearth_session& session) noexcept;

// guarded(), and the session remembers the message.
template <typename Body>
hearth_status in_session(const hearth_session* given, Body&& body) noexcept {
  auto* const session = const_cast<hearth_session*>(given);  // what is const for the caller alone
  hearth_status done = HEARTH_OK;
  const hearth_status entered = guarded([&] {
    const Call call(required(session, "session"));
    done = guarded([&] { body(*session); });
    if (done != HEARTH_OK) keep_message(*session);
  });
  return entered == HEARTH_OK ? done : entered;
}

// As many of them as there is room for, and how many there are.
template <typename T>
void copy_out(std::span<const T> all, T* out, std::size_t capacity, std::size_t* count) {
  required(count, "count");
  if (capacity > 0) required(out, "the table to fill");
  *count = all.size();
  if (capacity == 0) return;
  std::copy_n(all.data(), std::min(capacity, all.size()), out);
}

// A table and its length as the caller gives them: null only where it is empty.
template <typename T>
std::span<const T> table(const T* first, std::size_t count, const char* name) {
  if (count > 0) required(first, name);
  return {first, count};
}

std::string_view text(const char* given, const char* name);  // Misuse for null
void check_tokens(std::span<const TokenId> tokens, const runtime::Engine& engine);

// The engine's options as the runtime has them; they are valid as long as `given`.
runtime::EngineOptions engine_options(const char* model_path, const hearth_engine_options* given);
// Whom the engine tells what changes while it is used; empty: nobody.
std::function<void(const std::string&)> notice_when_used(const hearth_engine_options* given);
void check_plannable(const hearth_engine_options* given);  // Misuse for what no plan is made for

}  // namespace hearth::border
