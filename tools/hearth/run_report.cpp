#include "tools/hearth/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "runtime/gpu/device_model.h"
#include "tools/hearth/quantity.h"
#include "tools/hearth/terminal.h"

namespace hearth::tools {

void ExpertHeat::add(const profiler::Routing& routing) {
  for (const std::uint16_t expert : routing.experts)
    counts_[space_.flat({routing.layer, expert})] += 1;
}

std::vector<double> ExpertHeat::layer(LayerIndex index) const {
  const auto begin = counts_.begin() + space_.flat({index, 0});
  return {begin, begin + space_.experts_per_layer};
}

Moment Moment::of(const runtime::Engine& engine, const runtime::Session& session) {
  const profiler::ResidencyCounters& counters = engine.experts().residency().counters();
  return {.now = engine.clock().now(),
          .times = session.times(),
          .disk_wait = engine.experts().time_waited(),
          .read = engine.bytes_read(),
          .hits = counters.hits,
          .misses = counters.misses,
          .device = engine.device_model() == nullptr ? runtime::DeviceWork()
                                                     : engine.device_model()->work()};
}

namespace {

double percent(double part, double whole) { return whole > 0 ? 100.0 * part / whole : 0; }

double rate(std::uint32_t tokens, Nanoseconds time) {
  return time.count() > 0 ? tokens / seconds(time) : 0;
}

double milliseconds_per_token(Nanoseconds time, std::uint32_t tokens) {
  return seconds(time) * 1e3 / std::max(tokens, 1u);
}

void print_speed(const RunReport& r) {
  const Nanoseconds prefill = r.prefilled.now - r.start.now, decode = r.end.now - r.prefilled.now;
  fmt::print(stderr, "prefill   {:6} tokens in {:>9}  {:8.1f} tok/s\n", r.prompt_tokens,
             format_duration(prefill), rate(r.prompt_tokens, prefill));
  fmt::print(stderr, "decode    {:6} tokens in {:>9}  {:8.1f} tok/s\n", r.generated_tokens,
             format_duration(decode), rate(r.generated_tokens, decode));
  if (r.generated_tokens == 0) return;
  const Nanoseconds steps = r.end.times.total - r.prefilled.times.total;
  const Nanoseconds waiting = r.end.disk_wait - r.prefilled.disk_wait;
  const auto line = [&](Nanoseconds time) {
    return milliseconds_per_token(time, r.generated_tokens);
  };
  fmt::print(stderr, "a token   {:.2f} ms: compute {:.2f}, waiting for disk {:.2f}, other {:.2f}\n",
             line(decode), line(steps - waiting), line(waiting), line(decode - steps));
}

void print_layers(const runtime::Engine& engine, const ExpertHeat& heat) {
  const TerminalTraits traits = terminal_of(stderr);
  const profiler::Residency& residency = engine.experts().residency();
  const profiler::ResidencyCounters& all = residency.counters();
  fmt::print(stderr, "hit rate  {:.1f} % of {} routed experts\n",
             percent(static_cast<double>(all.hits), static_cast<double>(all.hits + all.misses)),
             format_grouped(all.hits + all.misses));
  for (std::uint32_t l = 0; l < engine.config().layers; ++l) {
    const auto layer = static_cast<LayerIndex>(l);
    if (engine.model().experts.layer(layer).count == 0) continue;
    const profiler::ResidencyCounters& counters = residency.counters(layer);
    const std::vector<double> counts = heat.layer(layer);
    const double hottest = *std::max_element(counts.begin(), counts.end());
    const unsigned cells = std::min(64u, traits.columns > 40 ? traits.columns - 40 : 8u);
    fmt::print(stderr, "  layer {:3} {} {:5.1f} %\n", l, heat_strip(counts, hottest, cells, traits),
               percent(static_cast<double>(counters.hits),
                       static_cast<double>(counters.hits + counters.misses)));
  }
}

// "12.3 MB a token, 0.61 GB/s, 28 % of the measured 2.18 GB/s"
void print_link(const char* name, double bytes, std::uint32_t tokens, Nanoseconds time, double peak,
                const char* token = "a token") {
  const double rate = bytes / seconds(time);
  fmt::print(stderr, "{:<9} {:.1f} MB {}, {:.2f} GB/s", name, bytes / std::max(tokens, 1u) / 1e6,
             token, rate / 1e9);
  if (peak > 0)
    fmt::print(stderr, ", {:.0f} % of the measured {:.2f} GB/s", percent(rate, peak), peak / 1e9);
  fmt::print(stderr, "\n");
}

double link_peak(const runtime::DeviceWork& work, const runtime::Engine& engine) {
  return engine.device_rates() ? runtime::link_peak(work, *engine.device_rates()) : 0;
}

// What the link of a device carried for the prompt.
void print_prompt(const RunReport& r, const runtime::DeviceWork& work,
                  const runtime::Engine& engine) {
  if (work.chunks > 0)
    fmt::print(
        stderr,
        "prompt    {} chunks, {:.1f} % of their experts in VRAM, {:.0f} launches and {:.2f} host "
        "synchronisations each\n",
        work.chunks,
        percent(static_cast<double>(work.of_chunks.resident), static_cast<double>(work.passed())),
        static_cast<double>(work.launches_of_chunks) / static_cast<double>(work.chunks),
        static_cast<double>(work.waits_of_chunks) / static_cast<double>(work.chunks));
  if (work.link_bytes() > Bytes(0))
    print_link("link", static_cast<double>(work.link_bytes().count), r.prompt_tokens,
               r.prefilled.now - r.start.now, link_peak(work, engine), "a token of the prompt");
}

// What the lanes of a device did for the generated tokens.
void print_lanes(const RunReport& r, const runtime::DeviceWork& work,
                 const runtime::Engine& engine) {
  const Nanoseconds decode = r.end.now - r.prefilled.now;
  const auto of_token = [&](std::uint64_t count) {
    return static_cast<double>(count) / r.generated_tokens;
  };
  fmt::print(stderr,
             "hit rate  {:.1f} % of {} experts were in VRAM; a token: {:.1f} fetched, {:.1f} "
             "computed by the CPU, {:.1f} of these not in RAM\n",
             percent(static_cast<double>(work.experts.hits), static_cast<double>(work.chosen())),
             format_grouped(work.chosen()), of_token(work.experts.fetched),
             of_token(work.experts.on_host), of_token(work.experts.not_in_ram));
  if (work.link_bytes() > Bytes(0))
    print_link("link", static_cast<double>(work.link_bytes().count), r.generated_tokens, decode,
               link_peak(work, engine));
  if (work.experts.on_host == 0) return;
  print_link("CPU lane", static_cast<double>(work.on_host_bytes.count), r.generated_tokens, decode,
             engine.device_rates() ? engine.device_rates()->cpu_shared : 0);
  fmt::print(stderr, "          busy {:.0f} % of the time\n",
             percent(seconds(work.on_host), seconds(decode)));
}

void print_device_work(const RunReport& r, const runtime::DeviceModel& model,
                       const runtime::Engine& engine) {
  const runtime::DeviceWork all = r.end.device - r.start.device;
  const double tokens = r.prompt_tokens + r.generated_tokens;
  fmt::print(
      stderr,
      "device    {:.2f} launches, of {:.0f} nodes, and {:.2f} host synchronisations a token, {} of "
      "them within a step or a chunk{}\n",
      static_cast<double>(all.launches) / tokens, static_cast<double>(all.nodes) / tokens,
      static_cast<double>(all.waits) / tokens, all.waits_inside(),
      model.host_cache() == nullptr ? "" : ": the host decides about slots");
  print_prompt(r, r.prefilled.device - r.start.device, engine);
  if (r.generated_tokens > 0) print_lanes(r, r.end.device - r.prefilled.device, engine);
  fmt::print(stderr, "vram      {} at most of {}, {} planned\n", format_size(model.device().peak()),
             format_size(engine.vram_budget()), format_size(engine.plan().vram->total()));
}

}  // namespace

void print_report(const RunReport& r, const runtime::Engine& engine, const ExpertHeat& heat,
                  const runtime::LinkPeaks& peaks) {
  fmt::print(stderr, "\n");
  print_speed(r);
  const runtime::DeviceModel* const device = engine.device_model();
  if (device != nullptr)
    print_device_work(r, *device, engine);
  else
    print_layers(engine, heat);
  const profiler::PrefetchCounts prefetches = engine.prefetches();
  if (prefetches.issued > 0)
    fmt::print(
        stderr, "prefetch  {} experts, {:.0f} % of them used\n", format_grouped(prefetches.issued),
        percent(static_cast<double>(prefetches.used), static_cast<double>(prefetches.issued)));
  fmt::print(stderr, "read      {} from disk since start\n", format_size(r.end.read));
  if (r.generated_tokens > 0) {
    const Nanoseconds decode = r.end.now - r.prefilled.now;
    print_link("disk", static_cast<double>((r.end.read - r.prefilled.read).count),
               r.generated_tokens, decode, peaks.disk_bytes_per_second);
    const Bytes weights =
        engine.model().dense_bytes_per_token() + engine.model().expert_bytes_per_token();
    print_link(device != nullptr ? "weights" : "memory",
               static_cast<double>(weights.count) * r.generated_tokens, r.generated_tokens, decode,
               device != nullptr ? 0 : peaks.ram_bytes_per_second);
  }
  fmt::print(stderr, "peak      {} resident, {} planned\n", format_size(r.peak_memory),
             format_size(engine.plan().ram.total()));
  fmt::print(stderr, "logits    {:016x}\n", r.logits_hash);
}

}  // namespace hearth::tools
