#include <algorithm>
#include <string_view>

#include "api/handles.h"
#include "profiler/profile_toml.h"
#include "runtime/gpu/choose_device.h"
#include "runtime/model_identity.h"

namespace hearth::border {
namespace {

constexpr std::size_t kFirstOptions =
    offsetof(hearth_engine_options, user) + sizeof(hearth_engine_options::user);

hearth_engine_options known(const hearth_engine_options* given) {
  return given == nullptr ? hearth_engine_options{} : taken(given, kFirstOptions, "options");
}

constexpr std::uint32_t kMostThreads = 1024;  // as many as the command takes

// Zero is what is usual.
void check_at_most(std::uint32_t given, std::uint32_t most, const char* name) {
  if (given > most)
    throw Misuse(HEARTH_ERROR_USAGE, "{} is {}; give 1 to {}, or 0 for what is usual", name, given,
                 most);
}

kernels::KvFormat kv_format(const char* name) {
  if (name == nullptr) return kernels::KvFormat::kF16;
  if (const auto format = kernels::parse_kv_format(name)) return *format;
  std::string known;
  for (const kernels::KvFormatTraits& one : kernels::kKvFormats)
    known += fmt::format("{}{}", known.empty() ? "" : ", ", one.name);
  throw Misuse(HEARTH_ERROR_USAGE, "{} is no format of keys and values; known are {}",
               printable(name), known);
}

io::IoBackend io_backend(const char* name) {
  if (name == nullptr) return io::IoBackend::kAuto;
  if (const auto backend = io::parse_io_backend(name)) return *backend;
  throw Misuse(HEARTH_ERROR_USAGE, "io is {}; give uring, pread, or null", printable(name));
}

runtime::MissService miss_service(const char* name) {
  if (name == nullptr) return runtime::MissService::kMeasured;
  if (const auto service = runtime::parse_miss_service(name)) return *service;
  throw Misuse(HEARTH_ERROR_USAGE, "misses is {}; give auto, link, cpu, or null", printable(name));
}

runtime::GpuCache gpu_cache(const char* name) {
  if (name == nullptr) return runtime::GpuCache::kDevice;
  if (const auto cache = runtime::parse_gpu_cache(name)) return *cache;
  throw Misuse(HEARTH_ERROR_USAGE, "gpu_cache is {}; give device, host, or null", printable(name));
}

bool takes_device(const hearth_engine_options& o) {
  return o.device != nullptr && std::string_view(o.device) != "none";
}

void check_left_to_plan(const hearth_engine_options& o) {
  if (o.ram != 0 || o.expert_ram != 0 || o.expert_share != 0 || o.context != 0 || o.batch != 0 ||
      o.threads != 0 || o.no_prefetch != 0 || o.policy != nullptr || o.key_format != nullptr ||
      o.value_format != nullptr || o.kv_tail != 0 || o.no_kv_rotation != 0 ||
      o.profile != nullptr || takes_device(o))
    throw Misuse(HEARTH_ERROR_USAGE,
                 "the plan decides device, budgets, context, batch, threads, prefetch, policy, "
                 "formats and profile; leave these options zero");
}

std::shared_ptr<const profiler::ExpertProfile> checked_profile(const hearth_profile& given,
                                                               const io::GgufFile& file,
                                                               const runtime::Model& model) {
  auto profile = std::make_shared<const profiler::ExpertProfile>(given.counting->now());
  profiler::check_profile_of(*profile, runtime::identity_of(file), model.experts.counts(),
                             "the profile");
  return profile;
}

void set_budget(const hearth_engine_options& o, profiler::MemoryBudget& budget) {
  if ((o.ram != 0) + (o.expert_ram != 0) + (o.expert_share != 0) > 1)
    throw Misuse(HEARTH_ERROR_USAGE,
                 "several of ram, expert_ram and expert_share are given; give one of them");
  if (!(o.expert_share >= 0 && o.expert_share <= 1))
    throw Misuse(HEARTH_ERROR_USAGE, "expert_share is {}; give a share, at most 1", o.expert_share);
  if (o.ram != 0) budget.ram = Bytes(o.ram);
  if (o.expert_ram != 0) budget.expert_ram = Bytes(o.expert_ram);
  if (o.expert_share != 0) budget.expert_share = o.expert_share;
}

void set_kv_formats(const hearth_engine_options& o, runtime::EngineOptions& options) {
  options.key_format = kv_format(o.key_format);
  options.value_format = kv_format(o.value_format);
  options.kv_rotation = !flag(o.no_kv_rotation, "no_kv_rotation");
  if (o.kv_tail < -1) throw Misuse(HEARTH_ERROR_USAGE, "kv_tail is {}; give -1 or more", o.kv_tail);
  if (o.kv_tail != 0) options.kv_tail = static_cast<std::uint32_t>(std::max(o.kv_tail, 0));
  const bool quantized = kernels::traits(options.key_format).quantized() ||
                         kernels::traits(options.value_format).quantized();
  if (!quantized && (o.kv_tail != 0 || o.no_kv_rotation != 0))
    throw Misuse(
        HEARTH_ERROR_USAGE,
        "kv_tail and no_kv_rotation are for quantized formats, and neither keys nor values "
        "have one; leave them zero");
}

std::function<void(const std::string&)> teller(void (*tell)(void*, const char*), void* user) {
  if (tell == nullptr) return {};
  return [tell, user](const std::string& line) { tell(user, line.c_str()); };
}

void set_device(const hearth_engine_options& o, runtime::EngineOptions& options) {
  if (o.machine != nullptr && !takes_device(o))
    throw Misuse(HEARTH_ERROR_USAGE, "machine is given, and no device; give both, or neither");
  runtime::DeviceWish wish{.device = o.device == nullptr ? "none" : o.device,
                           .misses = miss_service(o.misses),
                           .cache = gpu_cache(o.gpu_cache)};
  if (o.vram != 0) wish.vram = Bytes(o.vram);
  if (o.machine != nullptr) wish.machine_file = o.machine;
  wish.note = teller(o.on_note, o.user);
  runtime::choose_device(wish, options);
}

}  // namespace

runtime::EngineOptions engine_options(const char* model_path, const hearth_engine_options* given) {
  const hearth_engine_options o = known(given);
  if (o.plan != nullptr) check_left_to_plan(o);
  runtime::EngineOptions options{.model_path = path_of(model_path, "model_path")};
  set_budget(o, options.budget);
  check_at_most(o.batch, runtime::kMaxBatch, "batch");
  check_at_most(o.threads, kMostThreads, "threads");
  options.context = o.context;
  if (o.batch != 0) options.batch = o.batch;
  options.threads = o.threads;
  if (o.policy != nullptr) options.policy = o.policy;
  options.prefetch = !flag(o.no_prefetch, "no_prefetch");
  set_kv_formats(o, options);
  set_device(o, options);
  options.notice = teller(o.on_note, o.user);  // while it loads
  if (o.profile != nullptr)
    options.find_profile = [profile = o.profile](const io::GgufFile& file,
                                                 const runtime::Model& model) {
      return checked_profile(*profile, file, model);
    };
  if (o.plan != nullptr) options.follow(o.plan->plan, "the plan");
  options.io.backend = io_backend(o.io);
  if (flag(o.page_cache, "page_cache")) options.io.direct = io::DirectIo::kOff;
  if (o.on_progress != nullptr)
    options.progress = [ask = o.on_progress, user = o.user](Bytes done, Bytes all) {
      if (ask(user, done.count, all.count) != 0) throw Stopped{"on_progress asked to stop"};
    };
  return options;
}

std::function<void(const std::string&)> notice_when_used(const hearth_engine_options* given) {
  const hearth_engine_options o = known(given);
  return teller(o.on_notice, o.user);
}

void check_plannable(const hearth_engine_options* given) {
  const hearth_engine_options o = known(given);
  if (o.plan != nullptr)
    throw Misuse(HEARTH_ERROR_USAGE, "options->plan is given: a plan is what this makes");
  if (takes_device(o))
    throw Misuse(HEARTH_ERROR_USAGE,
                 "options->device is given: a plan is what lies in RAM where the CPU computes");
}

}  // namespace hearth::border
