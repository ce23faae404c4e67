// Generation: sample, show, append, until something ends it.
#include <cmath>

#include "api/handles.h"
#include "runtime/sampler/sampler.h"

namespace hearth::border {
namespace {

constexpr std::size_t kFirstGeneration =
    offsetof(hearth_generation, seed) + sizeof(hearth_generation::seed);
constexpr std::size_t kFirstGenerated =
    offsetof(hearth_generated, reserved) + sizeof(hearth_generated::reserved);
constexpr std::int32_t kUsualRepeatLast = 64;

void check_range(const char* name, float value, float least, float most) {
  if (value >= least && value <= most) return;  // false for what is no number
  throw Misuse(HEARTH_ERROR_USAGE, "{} is {}; give {} to {}", name, value, least, most);
}

void check(const hearth_generation& g) {
  constexpr float kAny = 1e30f;
  check_range("temperature", g.temperature, 0, kAny);
  check_range("top_p", g.top_p, 0, 1);
  check_range("min_p", g.min_p, 0, 1);
  check_range("repeat_penalty", g.repeat_penalty, 0, kAny);
  check_range("presence_penalty", g.presence_penalty, -kAny, kAny);
  check_range("frequency_penalty", g.frequency_penalty, -kAny, kAny);
  if (g.top_k < 0 || g.repeat_last < -1)
    throw Misuse(HEARTH_ERROR_USAGE,
                 "top_k is {} and repeat_last {}; give 0 or more, and -1 or more", g.top_k,
                 g.repeat_last);
  flag(g.ignore_end, "ignore_end");
  flag(g.show_special, "show_special");
  if (g.reserved != 0) throw Misuse(HEARTH_ERROR_USAGE, "reserved is not zero; make it so");
}

runtime::SamplerOptions sampler_options(const hearth_generation& g) {
  runtime::SamplerOptions options{
      .temperature = g.temperature,
      .top_k = g.top_k,
      .top_p = g.top_p == 0 ? 1 : g.top_p,
      .min_p = g.min_p,
      .repeat_penalty = g.repeat_penalty == 0 ? 1 : g.repeat_penalty,
      .repeat_last_n = g.repeat_last == 0 ? kUsualRepeatLast : g.repeat_last,
      .presence_penalty = g.presence_penalty,
      .frequency_penalty = g.frequency_penalty};
  if (g.seed != 0) options.seed = g.seed;
  return options;
}

runtime::Sampler make_sampler(const hearth_session& session, const hearth_generation& g) {
  runtime::Sampler sampler(sampler_options(g), session.owner.engine.config().vocabulary,
                           session.session.context());
  for (const TokenId token : session.timeline.tokens) sampler.accept(token);
  if (g.seed == 0 && session.timeline.random != 0) sampler.resume(session.timeline.random);
  return sampler;
}

struct Listener {
  hearth_on_token on_token;
  void* user;
};

void generate(hearth_session& session, const hearth_generation& g, const Listener& listener,
              hearth_generated& result) {
  const runtime::Tokenizer& tokenizer = session.owner.engine.tokenizer();
  if (session.session.torn() || session.logits.empty())
    throw Misuse(HEARTH_ERROR_STATE, "there are no logits to go on from; evaluate something first");
  runtime::Sampler sampler = make_sampler(session, g);
  while (true) {
    session.check_cancelled();
    if (g.most_tokens != 0 && result.tokens == g.most_tokens) {
      result.end = HEARTH_END_LIMIT;
      return;
    }
    if (session.session.position() == session.session.context()) {
      result.end = HEARTH_END_CONTEXT;
      return;
    }
    const TokenId token = sampler.sample(session.logits);
    session.timeline.random = sampler.random_state();
    if (g.ignore_end == 0 && tokenizer.is_end_of_generation(token)) {
      result.end = HEARTH_END_OF_TEXT;
      return;
    }
    result.tokens += 1;
    const std::string_view text = tokenizer.piece(token, g.show_special != 0);
    if (listener.on_token != nullptr &&
        listener.on_token(listener.user, token, text.data(), text.size()) != 0)
      throw Stopped{"on_token asked to stop"};
    sampler.accept(token);
    session.evaluate({&token, 1}, 0, [](std::uint32_t, std::span<const float>) {});
  }
}

}  // namespace
}  // namespace hearth::border

using namespace hearth::border;

extern "C" {

hearth_status hearth_session_generate(hearth_session* session, const hearth_generation* generation,
                                      hearth_on_token on_token, void* user,
                                      hearth_generated* result) {
  hearth_generated generated{.size = 0, .tokens = 0, .end = HEARTH_END_STOPPED, .reserved = 0};
  const auto tell = [&] {
    if (result != nullptr) fill(result, generated, kFirstGenerated, "result");
  };
  guarded(tell);  // also where there is no session; what is wrong with it, the next one says
  return in_session(session, [&](hearth_session& s) {
    tell();  // before anything is generated
    hearth_generation g{};
    try {
      if (generation != nullptr) g = taken(generation, kFirstGeneration, "generation");
      check(g);
      generate(s, g, {on_token, user}, generated);
    } catch (...) {
      tell();
      throw;
    }
    tell();
  });
}
}
