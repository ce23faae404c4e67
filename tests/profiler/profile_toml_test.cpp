// Profiles as files: what is written is read back exactly, and anything else is refused in a line.
#include "profiler/profile_toml.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/small_file.h"
#include "tests/profiler/support/profiles.h"

namespace hearth::profiler {
namespace {

using testing::empty_test_profile;
using testing::random_profile;
using testing::test_model;

ExpertProfile complete_profile() {
  ExpertProfile profile = random_profile(1);
  profile.workloads[0].label = "a \"quoted\" \\ label\n with ü";
  profile.curves = {{"lru", {{0.1, 0.25}, {0.5, 0.8125}}}, {"belady", {{0.1, 1.0 / 3}}}};
  profile.replayed_tokens = 150;
  return profile;
}

// The line that refuses the text, empty if it is accepted.
std::string refusal(std::string_view text) {
  try {
    parse_profile(text, "p.toml");
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    EXPECT_TRUE(std::string(error.what()).starts_with("p.toml: ")) << error.what();
    return error.what();
  }
}

// The profile's text with one part replaced, and a checksum that hides it.
std::string forged(std::string text, std::string_view from, std::string_view to) {
  text.resize(text.rfind("# Checksum"));
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  return text + checksum_line(text);
}

TEST(ProfileToml, IsReadBackExactly) {
  const ExpertProfile profile = complete_profile();
  EXPECT_EQ(parse_profile(to_toml(profile), "p.toml"), profile);
  const ExpertProfile empty = empty_test_profile();
  EXPECT_EQ(parse_profile(to_toml(empty), "p.toml"), empty);
}

TEST(ProfileToml, AnyRecordedProfileIsReadBackExactly) {
  EXPECT_TRUE(rc::check("profile_toml", [] {
    const auto tokens = *rc::gen::inRange<std::uint32_t>(2, 300);
    const auto skew = *rc::gen::inRange(1, 6);
    const ExpertProfile profile =
        random_profile(*rc::gen::arbitrary<std::uint64_t>(), "chat", tokens, skew);
    RC_ASSERT(parse_profile(to_toml(profile), "p.toml") == profile);
  }));
}

TEST(ProfileToml, IsRefusedCutOffAnywhere) {
  const std::string text = to_toml(complete_profile());
  for (std::size_t size = 0; size < text.size(); ++size)
    ASSERT_NE(refusal(std::string_view(text).substr(0, size)), "") << size;
  EXPECT_EQ(refusal(text), "");
  EXPECT_NE(refusal(text + "\n"), "");
}

TEST(ProfileToml, IsRefusedWithAnyByteFlipped) {
  std::string text = to_toml(complete_profile());
  for (std::size_t i = 0; i < text.size(); ++i)
    for (const int bit : {0x01, 0x20, 0x80}) {
      text[i] = static_cast<char>(text[i] ^ bit);
      ASSERT_NE(refusal(text), "") << i;
      text[i] = static_cast<char>(text[i] ^ bit);
    }
}

TEST(ProfileToml, SaysWhatIsWrong) {
  const std::string text = to_toml(complete_profile());
  EXPECT_NE(refusal("[model]\n").find("no expert profile"), std::string::npos);
  EXPECT_NE(refusal(text.substr(0, text.size() / 2)).find("cut off"), std::string::npos);
  std::string edited = text;
  edited[edited.find("Tiny")] = 't';
  EXPECT_NE(refusal(edited).find("damaged or was edited"), std::string::npos);
  EXPECT_NE(refusal(forged(text, "version 1", "version 2")).find("update"), std::string::npos);
  EXPECT_NE(refusal(forged(text, "version 1", "version x")).find("no version"), std::string::npos);
}

TEST(ProfileToml, ANewerVersionIsNotSupported) {
  try {
    parse_profile(forged(to_toml(complete_profile()), "version 1", "version 7"), "p.toml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  }
}

TEST(ProfileToml, IsRefusedWhereItContradictsItself) {
  ExpertProfile profile = empty_test_profile();
  profile.workloads = {{"chat", 10, 4}};
  profile.layers[0].experts[0] = {.count = 10, .recent = 7.5, .partners = {{{5, 3}, {1, 2}}}};
  profile.layers[0].experts[1] = {.count = 10, .recent = 5, .partners = {}};
  profile.layers[0].reuse[0] = 18;
  profile.curves = {{"lru", {{0.25, 0.5}, {0.5, 0.75}}}};
  const std::string text = to_toml(profile);
  ASSERT_EQ(refusal(text), "");

  const std::pair<std::string_view, std::string_view> contradictions[] = {
      {"counts = [10, 10, 0", "counts = [10, 10, 1"},        // more than 10 tokens choose
      {"counts = [10, 10", "counts = [11, 9"},               // by one token at most once
      {"counts = [10, 10, ", "counts = [10, 10, 0, "},       // too many experts
      {"counts = [10, 10, 0, ", "counts = [10, 10, "},       // fewer than recent has
      {"counts = [10, 10, ", "counts = [10, -1, "},          //
      {"counts = [10, 10, ", "counts = [10, \"10\", "},      //
      {"recent = [7.5, 5, ", "recent = [7.5, 5, 0, "},       //
      {"recent = [7.5", "recent = [10.5"},                   // more than the count
      {"recent = [7.5", "recent = [nan"},                    //
      {"reuse = [18", "reuse = [21"},                        // more than all uses
      {"reuse = [18, ", "reuse = ["},                        //
      {"partners = [5, 1", "partners = [8, 1"},              // no such expert
      {"partners = [5, 1, 0", "partners = [5, 1, 2"},        // never chosen
      {"partner_counts = [3, 2", "partner_counts = [3, 4"},  // ascending
      {"partner_counts = [3, 2", "partner_counts = [11, 2"},
      {"partners = [5, 1, ", "partners = [5, "},
      {"layer = 2", "layer = 0"},  // again
      {"layer = 3", "layer = 4"},  // the model has 4
      {"layer = 3\n", "layer = 3\npartners = [1]\n"},
      {"tokens = 10", "tokens = 9"},
      {"tokens = 10", "tokens = 9223372036854775807"},
      {"generated = 4", "generated = 11"},
      {"replayed_tokens = 0", "replayed_tokens = -1"},
      {"shares = [0.25, 0.5]", "shares = [0.5, 0.25]"},
      {"shares = [0.25, 0.5]", "shares = [0.25, 1]"},
      {"shares = [0.25, 0.5]", "shares = [0.25]"},
      {"hit_rates = [0.5, 0.75]", "hit_rates = [0.5, 1.75]"},
      {"experts_used = 2", "experts_used = 1"},
      {"experts_per_layer = 8", "experts_per_layer = 7"},
      {"[[curve]]", "[[curves]]"},
      {"[[workload]]", "[[workload]]\nlabel = \"chat\"\ntokens = 0\ngenerated = 0\n[[workload]]"},
  };
  for (const auto& [from, to] : contradictions)
    EXPECT_NE(refusal(forged(text, from, to)), "") << from << " -> " << to;
}

TEST(ProfileToml, TheLastLayerHasNoPartners) {
  const std::string text = to_toml(complete_profile());
  std::string list, counts;
  for (int i = 0; i < 24; ++i) list += "0, ", counts += "0, ";
  EXPECT_EQ(
      refusal(forged(text, "layer = 3\n",
                     "layer = 3\npartners = [" + list + "]\npartner_counts = [" + counts + "]\n")),
      "");
  list[0] = '1', counts[0] = '1';
  const std::string line =
      refusal(forged(text, "layer = 3\n",
                     "layer = 3\npartners = [" + list + "]\npartner_counts = [" + counts + "]\n"));
  EXPECT_NE(line, "");
}

TEST(ProfileToml, IsRefusedWithAHeadingThatIsNone) {
  const std::string text = to_toml(complete_profile());
  for (const std::string_view heading :
       {std::string_view("[[\0layer]]", 11), std::string_view("[[\x01]]"), std::string_view("[[="),
        std::string_view("[/]"), std::string_view("[\"layer")})
    EXPECT_NE(refusal(forged(text, "[[layer]]", heading)), "") << heading;
}

TEST(ProfileToml, BelongsToOneModel) {
  const ExpertProfile profile = complete_profile();
  EXPECT_NO_THROW(check_profile_of(profile, test_model(), testing::kTestLayers, "p.toml"));
  ModelIdentity other = test_model();
  other.name = "Other", other.tensors = 1;
  EXPECT_THROW(check_profile_of(profile, other, "p.toml"), Error);
  ModelIdentity quantised = test_model();
  quantised.types = 99, quantised.formats = "Q8_0 100 %";
  try {
    check_profile_of(profile, quantised, "p.toml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadInput);
    EXPECT_NE(std::string(error.what()).find("Q8_0 100 %"), std::string::npos) << error.what();
  }
  // A file that names the model but has another shape.
  EXPECT_THROW(check_profile_of(profile, test_model(), {8, 8, 8, 6}, "p.toml"), Error);
  EXPECT_THROW(check_profile_of(profile, test_model(), {8, 0, 8, 8}, "p.toml"), Error);
}

TEST(ProfileToml, LiesBesideTheModel) {
  EXPECT_EQ(profile_path_of("/m/a.gguf"), "/m/a.gguf.profile.toml");
  EXPECT_EQ(profile_path_of("a-00001-of-00003.gguf"), "a.gguf.profile.toml");
  EXPECT_EQ(profile_path_of("a-00001-of-0003.gguf"), "a-00001-of-0003.gguf.profile.toml");
  EXPECT_EQ(profile_path_of("-00001-of-00003.gguf"), "-00001-of-00003.gguf.profile.toml");
  EXPECT_EQ(profile_path_of("model"), "model.profile.toml");
}

TEST(ProfileToml, IsSavedAndLoaded) {
  const std::string path =
      (std::filesystem::temp_directory_path() / fmt::format("profile_toml_test.{}", getpid()))
          .string();
  save_profile(path, complete_profile());
  EXPECT_EQ(load_profile(path), complete_profile());
  std::filesystem::remove(path);
  EXPECT_THROW(load_profile(path), Error);
}

TEST(ProfileToml, ALargeModelsFileIsSmall) {
  ModelIdentity model = test_model();
  model.layers = 48, model.experts_per_layer = 128, model.experts_used = 8;
  ProfileRecorder recorder(empty_profile(model, std::vector<std::uint32_t>(48, 128)), "chat");
  Random random(5);
  for (std::uint32_t token = 0; token < 3000; ++token)
    for (LayerIndex layer = 0; layer < 48; ++layer) {
      const auto first = static_cast<std::uint16_t>(random.below(128));
      std::vector<std::uint16_t> experts;
      for (std::uint16_t i = 0; i < 8; ++i)
        experts.push_back(static_cast<std::uint16_t>((first + i * i) % 128));
      recorder.observe(
          {.layer = layer, .rows = 1, .experts_per_row = 8, .experts = experts, .position = token});
    }
  const std::string text = to_toml(recorder.profile());
  EXPECT_LT(text.size(), std::size_t{500'000});
  EXPECT_EQ(parse_profile(text, "p.toml"), recorder.profile());
}

}  // namespace
}  // namespace hearth::profiler
