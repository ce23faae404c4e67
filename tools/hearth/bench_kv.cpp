#include "tools/hearth/bench_kv.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/random.h"
#include "io/async_reader.h"
#include "runtime/available_memory.h"
#include "runtime/kv_cache.h"
#include "runtime/logits_hash.h"
#include "runtime/plan_input.h"
#include "runtime/session.h"
#include "tools/hearth/bench_kv_report.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/kv_quality.h"
#include "tools/hearth/model_summary.h"
#include "tools/hearth/prompt_text.h"

namespace hearth::tools {
namespace {

using runtime::Engine;
using runtime::Session;

constexpr std::uint32_t kQualityChunk = 1024;  // tokens
constexpr std::uint32_t kTiles = 512;          // positions: whole tiles of any format
constexpr KvPair kReference = {kernels::KvFormat::kF32, kernels::KvFormat::kF32};
constexpr KvPair kUsual = {kernels::KvFormat::kF16, kernels::KvFormat::kF16};

class KvBench {
 public:
  explicit KvBench(const KvBenchOptions& options)
      : o_(options),
        file_(io::GgufFile::open(options.engine.model, runtime::block_shape_of)),
        model_(runtime::build_model(file_)),
        tokenizer_(runtime::Tokenizer::from_metadata(file_.metadata())) {
    leave_out_what_cannot_be();
    if (o_.engine.context == 0)
      o_.engine.context = std::max({timed_positions(), o_.text ? kQualityChunk : 1,
                                    o_.engine.kv_tail.value_or(runtime::kDefaultKvTail) + kTiles});
    if (o_.engine.context < timed_positions())
      throw_error(ErrorCode::kUsage, "--ctx-size {}: the tests need {} positions; raise it",
                  o_.engine.context, timed_positions());
    tokens_ = o_.text ? text_tokens() : random_tokens();
    note();
  }

  void run() {
    BenchReport report(stdout, o_.format,
                       kv_columns(o_.depths, o_.generate > 0, o_.text.has_value()));
    usual_slots_ = planned(kUsual).slots;
    if (o_.text) save_reference();
    for (const KvPair& pair : o_.pairs) {
      if (o_.progress) fmt::print(stderr, "measuring {}\n", pair.name());
      report.add(kv_record(setup(), measure(pair)));
    }
    report.finish();
  }

 private:
  struct Planned {
    double bytes_per_token = 0;
    Bytes kv;
    std::optional<std::uint32_t> slots;  // none: the budget is not enough
    std::string reason;                  // then
  };

  // The heads of a model, or its latents, may be nothing that a format holds: the others go on.
  void leave_out_what_cannot_be() {
    std::string reason;
    std::erase_if(o_.pairs, [&](const KvPair& pair) {
      try {
        runtime::KvCache::needs(model_->kv_layers(), {.keys = pair.keys, .values = pair.values},
                                file_.name());
        return false;
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kUnsupported) throw;
        reason = error.what();
      }
      fmt::print(stderr, "note      {} is left out: {}\n", pair.name(), reason);
      return true;
    });
    if (o_.pairs.empty()) throw Error(ErrorCode::kUnsupported, reason);
  }

  std::uint32_t chunk() const { return std::min(kQualityChunk, o_.engine.context); }
  std::uint32_t deepest() const { return *std::max_element(o_.depths.begin(), o_.depths.end()); }
  std::uint32_t timed_positions() const { return o_.generate > 0 ? deepest() + o_.generate : 0; }
  // Of the tokens that are decoded: each repetition and the warm-up have their own.
  std::size_t needed_tokens() const {
    return std::size_t{o_.generate} * (o_.repetitions + 1) + (o_.prefill ? deepest() : 0);
  }

  std::vector<TokenId> text_tokens() const {
    std::string text = read_text(*o_.text);
    if (text.ends_with('\n')) text.pop_back();  // as hearth perplexity reads it
    const std::vector<TokenId> tokens =
        tokenizer_->encode(text, {.add_special = true, .parse_special = false});
    if (tokens.size() < needed_tokens())
      throw_error(ErrorCode::kBadInput, "{}: has {} tokens, the tests need {}; give a longer text",
                  *o_.text, tokens.size(), needed_tokens());
    return tokens;
  }

  std::vector<TokenId> random_tokens() const {
    Random random(o_.seed);
    std::vector<TokenId> tokens(needed_tokens());
    for (TokenId& token : tokens)
      token = static_cast<TokenId>(random.below(model_->config.vocabulary));
    return tokens;
  }

  void note() const {
    if (o_.generate > 0 && !o_.prefill && deepest() > 0)
      fmt::print(stderr,
                 "note      the positions before the timed tokens hold random keys and values, "
                 "stored and encoded as computed ones are; --fill prefill computes them\n");
    if (!o_.text)
      fmt::print(stderr,
                 "note      without a text (--file) predictions are not compared, and the timed "
                 "tokens are random\n");
    if (!o_.engine.ram)
      fmt::print(stderr, "note      --ram SIZE says how many more experts fit than with f16\n");
    if (model_->config.context_train < o_.engine.context)
      fmt::print(stderr, "note      the model was trained for {} positions\n",
                 model_->config.context_train);
  }

  // The flags of one pair. What only a quantized format can have is left out for the others.
  EngineFlags flags(const KvPair& pair) const {
    EngineFlags flags = o_.engine;
    flags.key_format = kernels::traits(pair.keys).name;
    flags.value_format = kernels::traits(pair.values).name;
    if (!pair.quantized()) flags.kv_tail.reset(), flags.kv_rotation.reset();
    return flags;
  }

  // From the header alone, so that pairs differ in nothing else.
  Planned planned(const KvPair& pair) const {
    const EngineFlags of_pair = flags(pair);
    const runtime::EngineOptions options = of_pair.options();
    const std::uint64_t alignment = io::AsyncReader::open(file_.paths(), options.io)->alignment();
    const bool profiled = options.find_profile && options.find_profile(file_, *model_) != nullptr;
    auto [needs, request] = runtime::plan_input(file_, *model_, options, alignment, profiled);
    request.available = runtime::available_memory(runtime::resident_memory());
    const Bytes longer = needs.kv.bytes(1 << 17, 1), shorter = needs.kv.bytes(1 << 16, 1);
    Planned result{.bytes_per_token = static_cast<double>((longer - shorter).count) / (1 << 16)};
    try {
      const profiler::PlacementPlan plan = plan_placement(needs, request, nullptr, nullptr);
      result.kv = plan.ram.kv;
      result.slots = plan.ram.slots();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kBudget) throw;
      result.reason = error.what();
    }
    return result;
  }

  void save_reference() {
    EngineFlags reference = flags(kReference);
    reference.context = chunk();
    const auto engine = reference.open(/*quiet=*/true);
    Session session(*engine);
    runtime::PerplexityOptions options{.context = chunk(), .most_chunks = o_.chunks};
    if (tokenizer_->adds_bos()) options.bos = tokenizer_->bos();
    quality_.emplace(session, tokens_, options, [this] { interrupt_.throw_if_interrupted(); });
  }

  KvResult measure(const KvPair& pair) {
    const Planned plan = planned(pair);
    KvResult result{.keys = std::string(kernels::traits(pair.keys).name),
                    .values = std::string(kernels::traits(pair.values).name),
                    .bytes_per_token = plan.bytes_per_token,
                    .kv_bytes = plan.kv};
    if (!plan.slots) {
      fmt::print(stderr, "note      {} does not fit: {}\n", pair.name(), plan.reason);
      return result;
    }
    result.slots = plan.slots;
    if (o_.engine.ram && usual_slots_)
      result.more_slots = static_cast<std::int64_t>(*plan.slots) - *usual_slots_;
    const auto engine = flags(pair).open(/*quiet=*/true);
    result.tail = engine->plan().kv_tail;
    result.rotated = pair.quantized() && engine->plan().kv_rotation;
    result.experts = engine->plan().experts;
    Session session(*engine);
    if (o_.generate > 0)
      for (const std::uint32_t depth : o_.depths)
        result.speeds.push_back(decode_at(depth, *engine, session));
    if (quality_) result.divergence = quality_->of(session);
    return result;
  }

  KvSpeed decode_at(std::uint32_t depth, Engine& engine, Session& session) const {
    KvSpeed speed{.depth = depth};
    runtime::LogitsHash hash;
    const std::span<const TokenId> timed = std::span(tokens_).last(
        std::size_t{o_.generate} * (o_.repetitions + 1));  // a prefill takes those before
    fill(depth, session);
    for (std::uint32_t repetition = 0; repetition <= o_.repetitions; ++repetition) {
      go_back(depth, session);
      const Nanoseconds begin = engine.clock().now();
      for (const TokenId& token :
           timed.subspan(std::size_t{repetition} * o_.generate, o_.generate)) {
        hash.add(session.evaluate({&token, 1}));
        interrupt_.throw_if_interrupted();
      }
      // The first one warms up the expert memory.
      if (repetition > 0) speed.times.push_back(engine.clock().now() - begin);
    }
    speed.tokens = o_.generate;
    speed.logits_hash = hash.value();
    return speed;
  }

  void fill(std::uint32_t depth, Session& session) const {
    if (!o_.prefill) return session.fill_at_random(depth, o_.seed);
    session.reset();
    if (depth > 0) session.evaluate(std::span(tokens_).first(depth));
  }

  // A session goes back by a step at most; behind a longer way everything is made again.
  void go_back(std::uint32_t depth, Session& session) const {
    if (depth == 0) return session.reset();
    if (session.can_rewind(depth)) return session.rewind(depth);
    fill(depth, session);
  }

  KvSetup setup() const {
    return {.model_path = o_.engine.model,
            .model_type = model_type(summarize(file_)),
            .model_size = file_.file_bytes(),
            .context = o_.engine.context,
            .threads = runtime::thread_count(
                o_.engine.threads < 0 ? 0 : static_cast<std::uint32_t>(o_.engine.threads)),
            .fill = o_.prefill ? "prefill" : "random",
            .text = o_.text.value_or("")};
  }

  KvBenchOptions o_;
  const InterruptGuard interrupt_;
  const io::GgufFile file_;
  const std::unique_ptr<runtime::Model> model_;
  const std::unique_ptr<runtime::Tokenizer> tokenizer_;
  std::vector<TokenId> tokens_;
  std::optional<std::uint32_t> usual_slots_;
  std::optional<KvQuality> quality_;
};

kernels::KvFormat parse_format(std::string_view name) {
  if (const auto format = kernels::parse_kv_format(name)) return *format;
  std::string known;
  for (const kernels::KvFormatTraits& row : kernels::kKvFormats)
    known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
  throw_error(ErrorCode::kUsage, "--kv: there is no format '{}'; known are {}", printable(name),
              known);
}

}  // namespace

std::string KvPair::name() const {
  return fmt::format("{}/{}", kernels::traits(keys).name, kernels::traits(values).name);
}

std::vector<KvPair> parse_kv_pairs(std::string_view text) {
  std::vector<KvPair> pairs;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view pair = text.substr(begin, end - begin);
    begin = end + 1;
    if (pair == "all") {
      for (const kernels::KvFormatTraits& row : kernels::kKvFormats)
        pairs.push_back({row.format, row.format});
      continue;
    }
    const std::size_t slash = std::min(pair.find('/'), pair.size());
    const auto keys = parse_format(pair.substr(0, slash));
    const auto values = slash == pair.size() ? keys : parse_format(pair.substr(slash + 1));
    pairs.push_back({keys, values});
  }
  for (std::size_t i = 0; i < pairs.size(); ++i)
    if (std::find(pairs.begin(), pairs.begin() + static_cast<std::ptrdiff_t>(i), pairs[i]) !=
        pairs.begin() + static_cast<std::ptrdiff_t>(i))
      throw_error(ErrorCode::kUsage, "--kv: {} is there twice", pairs[i].name());
  return pairs;
}

void bench_kv(const KvBenchOptions& options) { KvBench(options).run(); }

}  // namespace hearth::tools
