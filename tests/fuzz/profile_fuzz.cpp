// Any bytes are either a profile, which is written and read back the same and survives all that is
// done with profiles, or a hearth::Error. So is what a right checksum is put under.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "profiler/profile_compare.h"
#include "profiler/profile_counts.h"
#include "profiler/profile_merge.h"
#include "profiler/profile_skew.h"
#include "profiler/profile_toml.h"

namespace {

using namespace hearth;
using namespace hearth::profiler;

void use(const ExpertProfile& profile) {
  CHECK(parse_profile(to_toml(profile), "again") == profile);
  profile.popularity();
  for (const LayerProfile& layer : profile.layers) skew_of(layer);
  compare_profiles(profile, profile);
  counts_csv(profile);
  // Last: twice the tokens may be too many.
  const std::vector<NamedProfile> twice(2, {"input", profile});
  const ExpertProfile merged = merge_profiles(twice).profile;
  CHECK(parse_profile(to_toml(merged), "merged") == merged);
}

void read(std::string_view text) {
  try {
    use(parse_profile(text, "input"));
  } catch (const Error&) {
  }
}

ExpertProfile small_shape() {
  return empty_profile({.layers = 3, .experts_per_layer = 4, .experts_used = 2}, {4, 0, 3});
}

template <typename Import>
void import_as(Import import, std::string_view text) {
  try {
    const ExpertProfile imported = import(text, "input", small_shape(), "imported");
    CHECK(parse_profile(to_toml(imported), "imported") == imported);
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  read(text);
  read(text + checksum_line(text));
  import_as(import_counts_csv, text);
  import_as(import_spark_csv, text);
  return 0;
}
