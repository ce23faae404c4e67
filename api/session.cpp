// Sessions: one timeline, evaluated in turns.
#include <algorithm>
#include <utility>

#include "api/handles.h"

using hearth::TokenId;

hearth_session::hearth_session(hearth_engine& engine) : owner(engine), session(engine.engine) {
  timeline.tokens.reserve(session.context());
  message.reserve(hearth::border::kLongestMessage);
  session.on_routed([this](const hearth::profiler::Routing& routing) { routed(routing); });
  owner.sessions.fetch_add(1);
}

// A chunk of a prompt takes long and may be given up between two layers: the next one overwrites
// what it left, but for what recurrent layers remember.
void hearth_session::routed(const hearth::profiler::Routing& routing) {
  if (routing.rows > 1 && !owner.recurrent) check_cancelled();
  if (counting) counting->recorder->observe(routing);
  if (on_routing == nullptr) return;
  const hearth_routing told{.size = sizeof(hearth_routing),
                            .layer = routing.layer,
                            .position = routing.position,
                            .tokens = routing.rows,
                            .experts_used = routing.experts_per_row,
                            .experts = routing.experts.data(),
                            .weights = routing.weights.data()};
  on_routing(routing_user, &told);
}

void hearth_session::check_cancelled() {
  if (cancelled.exchange(false)) throw hearth::border::Stopped{"cancelled"};
}

void hearth_session::evaluate(std::span<const TokenId> tokens, std::size_t first_logits,
                              hearth::runtime::LogitsSink sink) {
  const std::size_t batch = owner.engine.plan().batch;
  for (std::size_t begin = 0; begin < tokens.size();) {
    const auto chunk = tokens.subspan(begin, std::min(batch, tokens.size() - begin));
    const hearth::Clock& clock = owner.engine.clock();
    const hearth::Nanoseconds asked = clock.now();
    const hearth::border::EngineTurn turn(owner, &cancelled);
    turn_stall += clock.now() - asked;
    check_cancelled();
    logits = {};
    std::span<const float> last;
    session.evaluate(chunk, first_logits > begin ? std::min(first_logits - begin, chunk.size()) : 0,
                     [&](std::uint32_t row, std::span<const float> of_row) {
                       last = of_row;
                       sink(static_cast<std::uint32_t>(begin + row), of_row);
                     });
    timeline.tokens.insert(timeline.tokens.end(), chunk.begin(), chunk.end());
    logits = last;
    begin += chunk.size();
  }
}

void hearth_session::stop_counting() {
  if (!counting) return;
  counting->counted = counting->recorder->profile();
  counting->recorder.reset();
  counting.reset();
}

namespace hearth::border {
namespace {

// Where a device computes: what takes memory of it, gives it back or changes it is not done beside
// a step of another session.
class DeviceTurn {
 public:
  explicit DeviceTurn(hearth_engine& engine) {
    if (engine.engine.device_model() != nullptr) turn_.emplace(engine);
  }

 private:
  std::optional<EngineTurn> turn_;
};

void check_whole(const hearth_session& session) {
  if (session.session.torn())
    throw Misuse(HEARTH_ERROR_STATE,
                 "a step failed, and what the recurrent layers remember is torn; rewind to 0");
}

void check_evaluable(const hearth_session& session, std::span<const TokenId> tokens) {
  if (tokens.empty()) throw Misuse(HEARTH_ERROR_USAGE, "there are no tokens; give at least one");
  check_whole(session);
  session.session.check(tokens);
}

void rewind(hearth_session& session, std::size_t position) {
  const std::size_t now = session.timeline.tokens.size();
  if (position > now)
    throw Misuse(HEARTH_ERROR_USAGE, "position {} is beyond the timeline of {} tokens", position,
                 now);
  if (position > 0) check_whole(session);
  if (position == now && !session.session.torn()) return;
  const auto kept = static_cast<std::uint32_t>(position);
  if (!session.session.can_rewind(kept))
    throw Misuse(HEARTH_ERROR_STATE,
                 "the session cannot go back from {} to {} tokens: keys and values are quantized, "
                 "or layers recurrent; rewind to 0",
                 now, position);
  const DeviceTurn turn(session.owner);
  session.session.rewind(kept);
  session.timeline.tokens.resize(position);
  session.logits = {};
}

void save(hearth_session& session, const std::string& path) {
  if (session.logits.empty())
    throw Misuse(HEARTH_ERROR_STATE, "the session has no logits to go on from; evaluate something");
  if (session.logits.data() != session.timeline.logits.data()) {
    session.timeline.logits.assign(session.logits.begin(), session.logits.end());
    session.logits = session.timeline.logits;
  }
  const EngineTurn turn(session.owner);
  runtime::save_session(path, session.owner.engine, session.session, session.timeline);
}

void load(hearth_session& session, const std::string& path) {
  const EngineTurn turn(session.owner);
  session.session.reset();
  session.logits = {};
  session.timeline.tokens.clear();
  runtime::Timeline loaded = runtime::load_session(path, session.owner.engine, session.session);
  loaded.tokens.reserve(session.session.context());
  session.timeline = std::move(loaded);
  session.logits = session.timeline.logits;
}

}  // namespace

void keep_message(hearth_session& session) noexcept {
  // Within what was reserved.
  session.message.assign(std::string_view(hearth_message()).substr(0, kLongestMessage));
}

}  // namespace hearth::border

using namespace hearth::border;

extern "C" {

hearth_status hearth_session_open(hearth_engine* engine, hearth_session** session) {
  return guarded([&] {
    required(engine, "engine").check_process();
    required(session, "session");
    const DeviceTurn turn(*engine);
    *session = new hearth_session(*engine);
  });
}

hearth_status hearth_session_close(hearth_session* session) {
  if (session == nullptr) return HEARTH_OK;
  return guarded([&] {
    session->owner.check_process();
    if (session->in_call.load(std::memory_order_acquire))
      throw Misuse(HEARTH_ERROR_STATE, "a call of this session is under way; let it end first");
    hearth_engine& owner = session->owner;
    {
      const DeviceTurn turn(owner);
      session->stop_counting();  // may fail, where a destructor must not
      delete session;
    }
    owner.sessions.fetch_sub(1);  // from now on it may be closed
  });
}

const char* hearth_session_message(const hearth_session* session) {
  return session == nullptr ? "" : session->message.c_str();
}

hearth_status hearth_session_evaluate(hearth_session* session, const int32_t* tokens, size_t count,
                                      const float** logits) {
  return in_session(session, [&](hearth_session& s) {
    const auto given = table(tokens, count, "tokens");
    check_evaluable(s, given);
    s.evaluate(given, count - 1, [](std::uint32_t, std::span<const float>) {});
    if (logits != nullptr) *logits = s.logits.data();
  });
}

hearth_status hearth_session_evaluate_each(hearth_session* session, const int32_t* tokens,
                                           size_t count, hearth_on_logits on_logits, void* user) {
  return in_session(session, [&](hearth_session& s) {
    const auto given = table(tokens, count, "tokens");
    if (on_logits == nullptr) throw Misuse(HEARTH_ERROR_USAGE, "on_logits is null; give one");
    check_evaluable(s, given);
    const std::size_t batch = s.owner.engine.plan().batch;
    for (std::size_t begin = 0; begin < count; begin += batch) {
      bool stopped = false;
      s.evaluate(given.subspan(begin, std::min(batch, count - begin)), 0,
                 [&](std::uint32_t row, std::span<const float> logits) {
                   stopped = stopped || on_logits(user, begin + row, logits.data()) != 0;
                 });
      if (stopped) throw Stopped{"on_logits asked to stop"};
    }
  });
}

hearth_status hearth_session_cancel(hearth_session* session) {
  return guarded([&] {
    required(session, "session").owner.check_process();
    session->cancelled.store(true);
    session->owner.turns.look_again();
  });
}

hearth_status hearth_session_tokens(const hearth_session* session, const int32_t** tokens,
                                    size_t* count) {
  return in_session(session, [&](hearth_session& s) {
    required(tokens, "tokens");
    required(count, "count") = s.timeline.tokens.size();
    *tokens = s.timeline.tokens.data();
  });
}

hearth_status hearth_session_rewind(hearth_session* session, size_t position) {
  return in_session(session, [&](hearth_session& s) { rewind(s, position); });
}

hearth_status hearth_session_save(hearth_session* session, const char* path) {
  return in_session(session, [&](hearth_session& s) { save(s, path_of(path, "path")); });
}

hearth_status hearth_session_load(hearth_session* session, const char* path) {
  return in_session(session, [&](hearth_session& s) { load(s, path_of(path, "path")); });
}

hearth_status hearth_session_on_routing(hearth_session* session, hearth_on_routing on_routing,
                                        void* user) {
  return in_session(session, [&](hearth_session& s) {
    s.on_routing = on_routing;
    s.routing_user = user;
  });
}

hearth_status hearth_session_times_of(const hearth_session* session, hearth_session_times* times) {
  return in_session(session, [&](hearth_session& s) {
    const hearth::runtime::StepTimes& spent = s.session.times();
    const auto ns = [](hearth::Nanoseconds time) { return static_cast<uint64_t>(time.count()); };
    const hearth_session_times filled{.size = sizeof(hearth_session_times),
                                      .turns = s.session.steps(),
                                      .total_ns = ns(spent.total),
                                      .attention_ns = ns(spent.attention),
                                      .experts_ns = ns(spent.experts),
                                      .dense_ns = ns(spent.ffn),
                                      .logits_ns = ns(spent.head),
                                      .turn_stall_ns = ns(s.turn_stall)};
    fill(times, filled, sizeof(hearth_session_times), "times");
  });
}
}
