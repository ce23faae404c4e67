#include <algorithm>

#include "api/handles.h"
#include "profiler/profile_toml.h"
#include "runtime/model_identity.h"

namespace hearth::border {
namespace {

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

void check_left_to_plan(const hearth_engine_options& o) {
  if (o.ram != 0 || o.expert_ram != 0 || o.context != 0 || o.batch != 0 || o.threads != 0 ||
      o.no_prefetch != 0 || o.policy != nullptr || o.key_format != nullptr ||
      o.value_format != nullptr || o.profile != nullptr)
    throw Misuse(HEARTH_ERROR_USAGE,
                 "the plan decides budgets, context, batch, threads, prefetch, policy, formats and "
                 "profile; leave these options zero");
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
  if (o.ram != 0 && o.expert_ram != 0)
    throw Misuse(HEARTH_ERROR_USAGE, "ram and expert_ram are both given; give one of them");
  if (o.ram != 0) budget.ram = Bytes(o.ram);
  if (o.expert_ram != 0) budget.expert_ram = Bytes(o.expert_ram);
}

}  // namespace

runtime::EngineOptions engine_options(const char* model_path, const hearth_engine_options* given) {
  hearth_engine_options o{};
  if (given != nullptr)
    o = taken(given, offsetof(hearth_engine_options, user) + sizeof(o.user), "options");
  runtime::EngineOptions options{.model_path = std::string(text(model_path, "model_path"))};
  if (o.no_prefetch != 0 && o.no_prefetch != 1)
    throw Misuse(HEARTH_ERROR_USAGE, "no_prefetch is {}; give 0 or 1", o.no_prefetch);
  set_budget(o, options.budget);
  options.context = o.context;
  if (o.batch != 0) options.batch = o.batch;
  options.threads = o.threads;
  if (o.policy != nullptr) options.policy = o.policy;
  options.prefetch = o.no_prefetch == 0;
  options.key_format = kv_format(o.key_format);
  options.value_format = kv_format(o.value_format);
  if (o.profile != nullptr)
    options.find_profile = [profile = o.profile](const io::GgufFile& file,
                                                 const runtime::Model& model) {
      return checked_profile(*profile, file, model);
    };
  if (o.plan != nullptr) {
    check_left_to_plan(o);
    options.follow(o.plan->plan, "the plan");
  }
  options.io.backend = io_backend(o.io);
  if (o.on_progress != nullptr)
    options.progress = [ask = o.on_progress, user = o.user](Bytes done, Bytes all) {
      if (ask(user, done.count, all.count) != 0) throw Stopped{"on_progress asked to stop"};
    };
  return options;
}

}  // namespace hearth::border
