#include "tools/hearth/engine_flags.h"

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "profiler/cache_policy.h"
#include "profiler/plan_toml.h"
#include "tools/hearth/terminal.h"

namespace hearth::tools {

void EngineFlags::add_to(CommandLine& line) {
  line.group("Model");
  line.add({.names = "-m,--model",
            .value = "FILE",
            .help = "GGUF file, or the first of a split set",
            .required = model_required},
           model);
  line.group("Memory");
  line.add({.names = "--ram",
            .value = "SIZE",
            .help = "budget for everything the process holds in RAM, such as 6GiB (without it and "
                    "--expert-ram: nine tenths of what is free)"},
           ram);
  line.add({.names = "--expert-ram",
            .value = "SIZE|PERCENT",
            .help = "budget for experts alone, as a size or a share of all expert bytes"},
           expert_ram);
  line.add({.names = "-c,--ctx-size",
            .value = "N",
            .help = "positions of the KV cache (0: from the model, at most 4096)"},
           context);
  std::vector<std::string> formats;
  for (const kernels::KvFormatTraits& format : kernels::kKvFormats)
    formats.emplace_back(format.name);
  line.add({.names = "--cache-type-k",
            .value = "TYPE",
            .help = "format of the keys in the KV cache",
            .choices = formats},
           key_format);
  line.add({.names = "--cache-type-v",
            .value = "TYPE",
            .help = "format of the values in the KV cache",
            .choices = formats},
           value_format);
  line.add({.names = "--kv-tail",
            .value = "N",
            .help = fmt::format("newest positions to read in f16 where a format is quantized "
                                "({} if not given)",
                                runtime::kDefaultKvTail)},
           kv_tail);
  line.add({.names = "--kv-rotation",
            .value = "on|off",
            .help = "rotate keys and values before they are quantized (on if not given); off "
                    "costs quality, and shows how much",
            .choices = {"on", "off"}},
           kv_rotation);
  if (takes_plan)
    line.add(
        {.names = "--plan",
         .value = "FILE",
         .help =
             "exactly the memory, context, threads and policy of a plan of hearth plan; the CPU "
             "computes"},
        plan);
  if (takes_plan) line.check([this, &line] { check_left_to_plan(line); });
  line.group("Compute");
  if (takes_device) device.add_to(line);
  line.add({.names = "-t,--threads",
            .value = "N",
            .help = "threads that compute (-1: one per core that may be used)"},
           threads);
  line.add({.names = "-b,--batch-size", .value = "N", .help = "upper bound of --ubatch-size"},
           batch);
  line.add({.names = "--ubatch-size", .value = "N", .help = "prompt tokens computed in one pass"},
           ubatch);
  line.group("Experts");
  std::vector<std::string> policies{"auto"};
  for (const std::string_view name : profiler::policy_names()) policies.emplace_back(name);
  line.add({.names = "--policy",
            .value = "NAME",
            .help = "which expert makes room for another",
            .choices = policies},
           policy);
  profile.add_to(line);
  line.add({.names = "--prefetch",
            .value = "on|off",
            .help = "read the next layer's experts ahead",
            .choices = {"on", "off"}},
           prefetch);
  line.add({.names = "--io",
            .value = "NAME",
            .help = "how files are read",
            .choices = {"auto", "uring", "pread"}},
           io);
  line.add({.names = "--direct",
            .value = "auto|off",
            .help = "bypass the page cache where the file system can",
            .choices = {"auto", "off"}},
           direct);
}

runtime::EngineOptions EngineFlags::options() const {
  if (ram && expert_ram)
    throw_error(ErrorCode::kUsage,
                "--ram and --expert-ram both bound the experts; give one of them");
  if (threads == 0 || threads < -1 || threads > 1024)
    throw_error(ErrorCode::kUsage,
                "--threads is {}; give 1 to 1024, or -1 for one per core that may be used",
                threads);
  for (const std::uint32_t size : {batch, ubatch})
    if (size == 0 || size > runtime::kMaxBatch)
      throw_error(ErrorCode::kUsage, "--batch-size or --ubatch-size is {}; give 1 to {}", size,
                  runtime::kMaxBatch);
  runtime::EngineOptions options;
  options.model_path = model;
  options.budget.ram = ram;
  if (expert_ram && expert_ram->size) options.budget.expert_ram = *expert_ram->size;
  if (expert_ram && !expert_ram->size) options.budget.expert_share = expert_ram->share;
  options.context = context;
  options.batch = std::min(batch, ubatch);
  options.threads = threads < 0 ? 0 : static_cast<std::uint32_t>(threads);
  set_kv_formats(options);
  options.policy = policy;
  options.prefetch = prefetch == "on";
  options.find_profile = [this](const io::GgufFile& file, const runtime::Model& found) {
    return profile.find(file, found, model);
  };
  if (takes_device && !plan) device.choose(options);
  if (plan) options.follow(profiler::load_plan(*plan), *plan);
  options.notice = [](const std::string& line) { fmt::print(stderr, "note      {}\n", line); };
  options.io.backend = *io::parse_io_backend(io);
  options.io.direct = direct == "off" ? io::DirectIo::kOff : io::DirectIo::kAuto;
  return options;
}

void EngineFlags::set_kv_formats(runtime::EngineOptions& options) const {
  options.key_format = *kernels::parse_kv_format(key_format);
  options.value_format = *kernels::parse_kv_format(value_format);
  options.kv_tail = kv_tail;
  options.kv_rotation = kv_rotation.value_or("on") == "on";
  if (kernels::traits(options.key_format).quantized() ||
      kernels::traits(options.value_format).quantized())
    return;
  const auto refuse = [&](const std::string& flag) {
    throw_error(ErrorCode::kUsage,
                "{}: neither {} nor {} is quantized; leave it out, or give --cache-type-k or "
                "--cache-type-v",
                flag, key_format, value_format);
  };
  if (kv_tail) refuse(fmt::format("--kv-tail {}", *kv_tail));
  if (kv_rotation) refuse(fmt::format("--kv-rotation {}", *kv_rotation));
}

// A plan decides these: a flag beside it would contradict it, or do nothing.
void EngineFlags::check_left_to_plan(const CommandLine& line) const {
  if (!plan) return;
  for (const char* flag :
       {"--ram", "--expert-ram", "--device", "--vram", "--misses", "--gpu-cache", "--ctx-size",
        "--cache-type-k", "--cache-type-v", "--kv-tail", "--kv-rotation", "--threads",
        "--batch-size", "--ubatch-size", "--policy", "--profile", "--prefetch"})
    if (line.given(flag))
      throw_error(ErrorCode::kUsage,
                  "--plan {} decides what {} would; leave one of them out, or make another plan",
                  printable(*plan), flag);
}

namespace {
constexpr Bytes kWorthABar = Bytes(256 << 20);  // a fraction of a second from any disk
}

std::unique_ptr<runtime::Engine> EngineFlags::open(bool quiet) const {
  runtime::EngineOptions opts = options();
  std::optional<Progress> progress;
  Bytes shown;
  opts.progress = [&](Bytes done, Bytes all) {
    if (all < kWorthABar) return;
    if (!progress) progress.emplace(stderr, "loading", all);
    progress->advance(done - shown);
    shown = done;
  };
  if (quiet) opts.progress = nullptr;
  auto engine = std::make_unique<runtime::Engine>(opts);
  progress.reset();
  if (quiet) return engine;
  print_engine(*engine);
  if (engine->profile() != nullptr) print_profile(*engine, profile.path(model));
  return engine;
}

namespace {

// "avx512", or with the formats that fall back to simpler kernels named.
std::string kernel_text(const kernels::CpuKernels& kernels) {
  std::string text(kernels.name);
  for (std::size_t f = 0; f < kernels::kWeightFormatCount; ++f)
    if (kernels.matmul_origin[f] != kernels.name)
      text +=
          fmt::format(", {}={} (slow)", kernels::kWeightFormats[f].name, kernels.matmul_origin[f]);
  return text;
}

}  // namespace

std::string kv_text(const profiler::PlacementPlan& plan) {
  std::string text = plan.key_format;
  if (plan.value_format != plan.key_format) text += "/" + plan.value_format;
  if (plan.kv_tail > 0) text += fmt::format(", tail {}", plan.kv_tail);
  if (!plan.kv_rotation) text += ", not rotated";
  return text;
}

std::string tiers_text(const profiler::PlacementPlan& plan) {
  const std::uint32_t held = plan.vram->held(), following = plan.vram->slots() - held;
  const std::uint32_t in_memory =
      std::min(held + std::max(following, plan.ram.slots()), plan.experts);
  return fmt::format(
      "{} experts stay in VRAM, {} slots follow what is used; with RAM {} of {} are in memory, {}",
      held, following, in_memory, plan.experts,
      in_memory == plan.experts ? "none is read from disk" : "the others are read from disk");
}

namespace {

void print_memory(const profiler::PlacementPlan& plan) {
  const std::string state = plan.ram.state == Bytes(0)
                                ? std::string()
                                : fmt::format(", recurrent state {}", format_size(plan.ram.state));
  fmt::print(
      stderr,
      "memory    {}: dense {}, KV {} for {} tokens, {}{}, scratch {}, experts {}, process {}\n",
      format_size(plan.ram.total()), format_size(plan.ram.dense), format_size(plan.ram.kv),
      plan.context, kv_text(plan), state, format_size(plan.ram.scratch),
      format_size(plan.ram.experts), format_size(plan.ram.process));
}

}  // namespace

void print_engine(const runtime::Engine& engine) {
  const profiler::PlacementPlan& plan = engine.plan();
  const runtime::ModelConfig& config = engine.config();
  fmt::print(stderr, "model     {} {}, {}, {} layers, {} experts of which {} are used\n",
             config.architecture, printable(config.name), format_size(engine.file().file_bytes()),
             config.layers, config.experts, config.experts_used);
  for (const std::string& note : engine.model().notes) fmt::print(stderr, "note      {}\n", note);
  if (config.context_train < plan.context)
    fmt::print(stderr, "note      the model was trained for {} positions\n", config.context_train);
  if (plan.vram)
    fmt::print(stderr, "memory    {}: dense {}, scratch {}, experts {}, process {}\n",
               format_size(plan.ram.total()), format_size(plan.ram.dense),
               format_size(plan.ram.scratch), format_size(plan.ram.experts),
               format_size(plan.ram.process));
  else
    print_memory(plan);
  const bool all_fit = plan.vram || plan.ram.slots() == plan.experts;
  if (!plan.vram)
    fmt::print(stderr, "experts   {} of {} fit ({:.0f} %), policy {}, prefetch {}\n",
               plan.ram.slots(), plan.experts, 100.0 * plan.ram.slots() / plan.experts,
               all_fit ? "unused" : plan.policy, engine.prefetching() ? "on" : "off");
  if (!all_fit) fmt::print(stderr, "policy    {}: {}\n", plan.policy, plan.policy_reason);
  print_device(engine);
  if (engine.device_model() == nullptr)
    fmt::print(stderr, "compute   {} threads, {}, {} tokens per prefill step\n", engine.threads(),
               kernel_text(engine.kernels()), plan.batch);
  fmt::print(stderr, "disk      {}\n", engine.io_description());
}

}  // namespace hearth::tools
