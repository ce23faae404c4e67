#include "adapters/llama.cpp/options.h"

#include <getopt.h>

#include <algorithm>
#include <charconv>

#include <limits>
#include <string_view>

namespace hearth_llama {

const char kHelp[] =
    R"(Runs texts through a model in llama.cpp and counts, in a Hearth profile, what its routers choose.

Usage: hearth-llama-record -m MODEL -f TEXT --workload LABEL [FLAGS]

  -m, --model FILE        GGUF file of a mixture of experts (required)
  -f, --file FILE         a text; may be given again
      --token-ids N,N,... the tokens themselves, instead of a text
      --workload LABEL    what kind of text it is, in at most 64 bytes (required)
  -o, --output FILE       the profile (default: MODEL.profile.toml); an existing file is an error
  -n, --tokens N          stop after so many tokens
  -c, --ctx-size N        tokens of a chunk, which begins with an empty context (default 512)
  -b, --batch-size N      tokens that are computed at once (default 256); memory for the logits of all
  -t, --threads N         threads that compute
      --gpu-layers N      layers on the GPU, as llama.cpp's -ngl
  -h, --help              print this help and exit
)";

namespace {

constexpr int kTokenIds = 256, kWorkload = 257, kGpuLayers = 258;

constexpr option kFlags[] = {{"model", required_argument, nullptr, 'm'},
                             {"file", required_argument, nullptr, 'f'},
                             {"token-ids", required_argument, nullptr, kTokenIds},
                             {"workload", required_argument, nullptr, kWorkload},
                             {"output", required_argument, nullptr, 'o'},
                             {"tokens", required_argument, nullptr, 'n'},
                             {"ctx-size", required_argument, nullptr, 'c'},
                             {"batch-size", required_argument, nullptr, 'b'},
                             {"threads", required_argument, nullptr, 't'},
                             {"gpu-layers", required_argument, nullptr, kGpuLayers},
                             {"help", no_argument, nullptr, 'h'},
                             {nullptr, 0, nullptr, 0}};

[[noreturn]] void wrong(const std::string& what) {
  throw Failure(what + "; see hearth-llama-record --help", 2);
}

// Digits alone, in [lowest, the largest T].
template <typename T>
T number(std::string_view text, T lowest) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < lowest)
    wrong("'" + std::string(text) + "' is not a number from " + std::to_string(lowest) + " to " +
          std::to_string(std::numeric_limits<T>::max()));
  return value;
}

std::vector<std::int32_t> numbers(std::string_view text) {
  std::vector<std::int32_t> all;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    all.push_back(number<std::int32_t>(text.substr(begin, end - begin), 0));
    begin = end + 1;
  }
  return all;
}

void take(Options& o, int flag) {
  switch (flag) {
    case 'm':
      o.model = optarg;
      return;
    case 'f':
      o.files.emplace_back(optarg);
      return;
    case kTokenIds:
      o.token_ids = numbers(optarg);
      return;
    case kWorkload:
      o.workload = optarg;
      return;
    case 'o':
      o.output = optarg;
      return;
    case 'n':
      o.most_tokens = number<std::uint64_t>(optarg, 1);
      return;
    case 'c':
      o.context = number<std::uint32_t>(optarg, 2);
      return;
    case 'b':
      o.batch = number<std::uint32_t>(optarg, 1);
      return;
    case 't':
      o.threads = number<std::int32_t>(optarg, 1);
      return;
    case kGpuLayers:
      o.gpu_layers = number<std::int32_t>(optarg, 0);
      return;
    case 'h':
      o.help = true;
      return;
    default:
      wrong("unknown flag, or a value is missing");
  }
}

}  // namespace

Options parse_options(int argc, char** argv) {
  Options o;
  opterr = 0;  // one line of error is enough
  for (int flag; (flag = getopt_long(argc, argv, "m:f:o:n:c:b:t:h", kFlags, nullptr)) != -1;)
    take(o, flag);
  if (o.help) return o;
  if (optind < argc) wrong(std::string("unexpected argument '") + argv[optind] + "'");
  if (o.model.empty()) wrong("--model is missing");
  if (o.workload.empty()) wrong("--workload is missing");
  if (o.files.empty() == o.token_ids.empty()) wrong("give texts with --file, or --token-ids");
  if (o.output.empty()) o.output = o.model + ".profile.toml";
  return o;
}

}  // namespace hearth_llama
