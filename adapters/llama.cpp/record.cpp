// Runs texts through a model in llama.cpp and writes what its routers choose as a Hearth profile,
// so that there are profiles also of architectures that Hearth does not run.
//
// llama.cpp calls back after each tensor that it is asked to show. The ids of the experts that a
// layer chose are in "ffn_moe_topk-<layer>", whatever the architecture. Nothing else is used of it
// but its public header, and of Hearth but hearth/recording.h.
#include <ggml-backend.h>
#include <ggml.h>
#include <hearth/recording.h>
#include <llama.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/llama.cpp/options.h"

namespace hearth_llama {
namespace {

template <auto free>
struct Free {
  template <typename T>
  void operator()(T* handle) const {
    free(handle);
  }
};
using ModelHandle = std::unique_ptr<llama_model, Free<llama_model_free>>;
using ContextHandle = std::unique_ptr<llama_context, Free<llama_free>>;

// "ffn_moe_topk-12" → 12.
std::optional<std::uint32_t> layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "ffn_moe_topk-";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  std::uint32_t layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return layer;
}

// The recording, as llama.cpp's callback sees it. Errors cannot pass through its code: the first
// one stops the computation and is thrown afterwards.
class Recorder {
 public:
  explicit Recorder(const Options& o) {
    check(hearth_recording_begin(o.model.c_str(), o.workload.c_str(), &recording_));
  }
  ~Recorder() { hearth_recording_close(recording_); }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void begin_step(std::uint32_t position, std::uint32_t tokens) {
    position_ = position;
    tokens_ = tokens;
  }

  static bool on_tensor(ggml_tensor* tensor, bool ask, void* self) {
    const std::optional<std::uint32_t> layer = layer_of(tensor->name);
    if (ask || !layer) return ask ? layer.has_value() : true;
    return static_cast<Recorder*>(self)->observe(*layer, *tensor);
  }

  // Throws what observe() could not.
  void end_step() const {
    if (!failure_.empty()) throw Failure(failure_);
  }

  std::uint64_t tokens() const {
    std::uint64_t tokens = 0;
    check(hearth_recording_tokens(recording_, &tokens));
    return tokens;
  }

  void save(const std::string& path) const {
    check(hearth_recording_save(recording_, path.c_str()));
  }

 private:
  static void check(hearth_status status) {
    if (status != HEARTH_OK) throw Failure(hearth_message());
  }

  bool observe(std::uint32_t layer, const ggml_tensor& chosen) {
    if (chosen.type != GGML_TYPE_I32 || chosen.ne[1] != tokens_ || chosen.ne[2] != 1)
      return fail(std::string(chosen.name) +
                  " is not what this program expects; it was written for another llama.cpp");
    const auto used = static_cast<std::size_t>(chosen.ne[0]);
    experts_.resize(used * tokens_);
    // Rows are parts of longer ones: all experts, sorted.
    for (std::size_t row = 0; row < tokens_; ++row)
      ggml_backend_tensor_get(&chosen, &experts_[row * used], row * chosen.nb[1],
                              used * sizeof(std::int32_t));
    const hearth_choice choice = {.size = sizeof choice,
                                  .layer = layer,
                                  .position = position_,
                                  .tokens = tokens_,
                                  .experts_used = static_cast<std::uint32_t>(used),
                                  .experts = experts_.data()};
    return hearth_recording_observe(recording_, &choice) == HEARTH_OK || fail(hearth_message());
  }

  bool fail(const std::string& line) {
    if (failure_.empty()) failure_ = line;
    return false;
  }

  hearth_recording* recording_ = nullptr;
  std::uint32_t position_ = 0;
  std::uint32_t tokens_ = 0;
  std::vector<std::int32_t> experts_;
  std::string failure_;
};

ModelHandle load(const Options& o) {
  llama_model_params params = llama_model_default_params();
  if (o.gpu_layers >= 0) params.n_gpu_layers = o.gpu_layers;
  ModelHandle model(llama_model_load_from_file(o.model.c_str(), params));
  if (!model) throw Failure(o.model + ": llama.cpp does not load it; its own messages say why");
  return model;
}

ContextHandle open_context(llama_model& model, const Options& o, Recorder& recorder) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = o.context;
  params.n_batch = params.n_ubatch = std::min(o.batch, o.context);  // one step of the graph each
  params.cb_eval = Recorder::on_tensor;
  params.cb_eval_user_data = &recorder;
  if (o.threads > 0) params.n_threads = params.n_threads_batch = o.threads;
  ContextHandle context(llama_init_from_model(&model, params));
  if (!context) throw Failure("llama.cpp makes no context; lower --ctx-size or --batch-size");
  return context;
}

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in.good() && text.empty()) throw Failure(path + ": cannot be read, or is empty; check it");
  return text;
}

std::vector<llama_token> tokenize(const llama_vocab& vocab, const std::string& text) {
  const auto bytes = static_cast<std::int32_t>(text.size());
  const std::int32_t count = -llama_tokenize(&vocab, text.data(), bytes, nullptr, 0, false, false);
  std::vector<llama_token> tokens(static_cast<std::size_t>(std::max(count, 0)));
  llama_tokenize(&vocab, text.data(), bytes, tokens.data(), count, false, false);
  return tokens;
}

// Chunks of the context's size, each with the token in front that the model begins texts with.
using Chunk = std::vector<llama_token>;
void append_chunks(std::vector<Chunk>& chunks, const std::vector<llama_token>& text,
                   const std::optional<llama_token>& first, const Options& o) {
  const std::size_t room = o.context - (first ? 1 : 0);
  for (std::size_t begin = 0; begin < text.size(); begin += room) {
    Chunk& chunk = chunks.emplace_back();
    if (first) chunk.push_back(*first);
    const auto from = text.begin() + static_cast<std::ptrdiff_t>(begin);
    chunk.insert(chunk.end(), from,
                 from + static_cast<std::ptrdiff_t>(std::min(room, text.size() - begin)));
  }
}

std::vector<Chunk> chunks_of(const llama_model& model, const Options& o) {
  const llama_vocab& vocab = *llama_model_get_vocab(&model);
  std::vector<Chunk> chunks;
  append_chunks(chunks, o.token_ids, std::nullopt, o);
  std::optional<llama_token> first;
  if (llama_vocab_get_add_bos(&vocab)) first = llama_vocab_bos(&vocab);
  for (const std::string& file : o.files)
    append_chunks(chunks, tokenize(vocab, read_text(file)), first, o);
  for (const Chunk& chunk : chunks)
    for (const llama_token token : chunk)
      if (token >= llama_vocab_n_tokens(&vocab))
        throw Failure("the vocabulary has no token " + std::to_string(token), 2);
  return chunks;
}

struct Batch {
  explicit Batch(std::uint32_t most) : batch(llama_batch_init(static_cast<int>(most), 0, 1)) {}
  ~Batch() { llama_batch_free(batch); }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
  llama_batch batch;
};

// All tokens ask for logits: the last layer routes only those that do.
void run_step(llama_context& context, const Chunk& chunk, std::size_t begin, std::size_t count,
              Recorder& recorder, llama_batch& batch) {
  batch.n_tokens = static_cast<std::int32_t>(count);
  for (std::size_t i = 0; i < count; ++i) {
    batch.token[i] = chunk[begin + i];
    batch.pos[i] = static_cast<llama_pos>(begin + i);
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = 1;
  }
  recorder.begin_step(static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(count));
  const std::int32_t status = llama_decode(&context, batch);
  recorder.end_step();
  if (status != 0) throw Failure("llama_decode fails with " + std::to_string(status));
}

void run(llama_context& context, const std::vector<Chunk>& chunks, const Options& o,
         Recorder& recorder) {
  Batch batch(std::min(o.batch, o.context));
  std::uint64_t left = o.most_tokens;
  for (const Chunk& chunk : chunks) {
    llama_memory_clear(llama_get_memory(&context), true);
    const std::size_t tokens = std::min<std::uint64_t>(chunk.size(), left);
    for (std::size_t begin = 0; begin < tokens;) {
      const std::size_t count = std::min<std::size_t>(tokens - begin, llama_n_batch(&context));
      run_step(context, chunk, begin, count, recorder, batch.batch);
      begin += count;
    }
    left -= tokens;
    if (left == 0) return;
  }
}

void log_errors(ggml_log_level level, const char* text, void* /*user*/) {
  if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
}

void record(const Options& o) {
  if (std::filesystem::exists(o.output))
    throw Failure(o.output +
                  ": a profile is there already; name another with --output, and combine "
                  "them with 'hearth profile merge'");
  Recorder recorder(o);
  llama_log_set(log_errors, nullptr);
  llama_backend_init();
  ggml_backend_load_all();
  const ModelHandle model = load(o);
  const std::vector<Chunk> chunks = chunks_of(*model, o);
  const ContextHandle context = open_context(*model, o, recorder);
  run(*context, chunks, o, recorder);
  if (recorder.tokens() == 0) throw Failure("nothing was routed; is it a mixture of experts?");
  recorder.save(o.output);
  std::fprintf(stderr, "recorded  %llu tokens of '%s' into %s\n",
               static_cast<unsigned long long>(recorder.tokens()), o.workload.c_str(),
               o.output.c_str());
}

}  // namespace
}  // namespace hearth_llama

int main(int argc, char** argv) {
  try {
    const hearth_llama::Options options = hearth_llama::parse_options(argc, argv);
    if (options.help)
      std::fputs(hearth_llama::kHelp, stdout);
    else
      hearth_llama::record(options);
    return 0;
  } catch (const hearth_llama::Failure& failure) {
    std::fprintf(stderr, "hearth-llama-record: error: %s\n", failure.what());
    return failure.exit_code;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hearth-llama-record: error: %s\n", error.what());
    return 1;
  }
}
