// The codecs of keys and values against their formulas in double, and the bytes they take.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/kv/code_planes.h"
#include "kernels/kv/code_tables.h"
#include "kernels/kv/rotation.h"
#include "tests/kernels/support/cpu_tables.h"

namespace hearth::kernels {
namespace {

constexpr double kHalfUnit = 0x1p-11;  // of f16
constexpr KvPart kParts[] = {KvPart::kKeys, KvPart::kValues};

// Rows with loud positions and channels, as encode_tile() is given them: f16 values.
std::vector<float> uneven_rows(std::uint32_t positions, std::uint32_t dim) {
  Random random(dim);
  std::vector<float> rows = normal_floats(random, std::size_t{positions} * dim);
  for (std::uint32_t p = 0; p < positions; ++p)
    for (std::uint32_t c = 0; c < dim; ++c) {
      float& value = rows[std::size_t{p} * dim + c];
      value = value * (1 + static_cast<float>(p % 5)) + (c % 37 == 3 ? 20.0f : 0.0f);
      value = static_cast<float>(std::lround(value * 64)) / 64;
    }
  return rows;
}

std::vector<float> round_trip(KvFormat format, KvPart part, const std::vector<float>& rows,
                              std::uint32_t dim) {
  std::vector<std::byte> tile(kv_tile_bytes(format, part, dim), std::byte{0xa5});
  encode_tile(format, part, rows.data(), dim, tile.data());
  std::vector<float> result(rows.size());
  decode_tile(format, part, tile.data(), dim, result.data());
  return result;
}

// KVarN of one slice in double, T[row][column] (kernels/kv/kvarn_codec.h), with logarithms.
class Reference {
 public:
  Reference(const std::vector<double>& t, std::uint32_t rows, std::uint32_t columns,
            std::uint32_t bits)
      : t_(t), rows_(rows), columns_(columns), log_row_(rows, 0), log_column_(columns, 0) {
    std::vector<double> best_row = log_row_, best_column = log_column_;
    double best = imbalance();
    for (int i = 0; i < 16; ++i) {
      add(deviations(columns_, rows_, false), log_column_);
      add(deviations(rows_, columns_, true), log_row_);
      if (imbalance() > best) continue;
      best = imbalance();
      best_row = log_row_;
      best_column = log_column_;
    }
    log_row_ = best_row;
    log_column_ = best_column;
    round(bits);
  }

  double value(std::uint32_t r, std::uint32_t c) const { return decoded_[r * columns_ + c]; }
  // A step of the code of that place.
  double step(std::uint32_t r, std::uint32_t c) const {
    return steps_[r] * std::exp(log_row_[r] + log_column_[c]);
  }

 private:
  double scaled(std::uint32_t r, std::uint32_t c) const {
    return t_[r * columns_ + c] / std::exp(log_row_[r]) / std::exp(log_column_[c]);
  }
  std::vector<double> deviations(std::uint32_t count, std::uint32_t n, bool of_rows) const {
    std::vector<double> result;
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto at = [&](std::uint32_t k) { return of_rows ? scaled(i, k) : scaled(k, i); };
      double mean = 0, squares = 0;
      for (std::uint32_t k = 0; k < n; ++k) mean += at(k) / n;
      for (std::uint32_t k = 0; k < n; ++k) squares += (at(k) - mean) * (at(k) - mean);
      result.push_back(std::sqrt(squares / (n - 1)));
    }
    return result;
  }
  static void add(const std::vector<double>& deviations, std::vector<double>& logs) {
    for (std::size_t i = 0; i < logs.size(); ++i)
      logs[i] = std::clamp(logs[i] + std::log(std::clamp(deviations[i], 1e-3, 1e3)), -0.3, 10.0);
  }
  double imbalance() const {
    const auto of = [](const std::vector<double>& d) {
      return *std::max_element(d.begin(), d.end()) /
             std::max(*std::min_element(d.begin(), d.end()), 1e-8);
    };
    return of(deviations(columns_, rows_, false)) + of(deviations(rows_, columns_, true));
  }
  void round(std::uint32_t bits) {
    decoded_.resize(t_.size());
    for (std::uint32_t r = 0; r < rows_; ++r) {
      double least = std::numeric_limits<double>::infinity(), most = -least;
      for (std::uint32_t c = 0; c < columns_; ++c) {
        least = std::min(least, scaled(r, c));
        most = std::max(most, scaled(r, c));
      }
      steps_.push_back(std::max((most - least) / ((1 << bits) - 1), 1e-10));
      for (std::uint32_t c = 0; c < columns_; ++c)
        decoded_[r * columns_ + c] =
            (std::round((scaled(r, c) - least) / steps_[r]) * steps_[r] + least) *
            std::exp(log_row_[r] + log_column_[c]);
    }
  }

  const std::vector<double> t_;
  const std::uint32_t rows_, columns_;
  std::vector<double> log_row_, log_column_, steps_, decoded_;
};

// A code may fall to the other side of a border that the values in f32 are near to, so a value may
// be off by a step there, and by the rounding of its three factors to f16 everywhere: code × scale
// and zero are at most half the range of a row and the largest value in it, which is less than 64.
// f32 moves codes only where a value is within 2^-12 of a border, so that few do.
TEST(Kvarn, IsItsFormula) {
  for (const KvFormat format : {KvFormat::kKvarn2, KvFormat::kKvarn5, KvFormat::kKvarn8})
    for (const std::uint32_t dim : {32u, 128u})
      for (const KvPart part : kParts) {
        const std::vector<float> rows = uneven_rows(128, dim);
        const bool keys = part == KvPart::kKeys;
        std::vector<double> t(rows.size());
        for (std::uint32_t p = 0; p < 128; ++p)
          for (std::uint32_t c = 0; c < dim; ++c)
            t[keys ? c * 128 + p : p * dim + c] = rows[p * dim + c];
        const Reference reference(t, keys ? dim : 128, keys ? 128 : dim, traits(format).bits);
        const std::vector<float> got = round_trip(format, part, rows, dim);
        std::uint32_t moved = 0;
        for (std::uint32_t p = 0; p < 128; ++p)
          for (std::uint32_t c = 0; c < dim; ++c) {
            const std::uint32_t r = keys ? c : p, column = keys ? p : c;
            const double off = std::abs(got[p * dim + c] - reference.value(r, column));
            const double rounding = 4 * kHalfUnit * 64;
            ASSERT_LE(off, 1.01 * reference.step(r, column) + rounding)
                << traits(format).name << " " << dim << " " << p << " " << c;
            moved += off > 0.5 * reference.step(r, column) + rounding ? 1 : 0;
          }
        EXPECT_LE(moved, rows.size() / 1000);
      }
}

// Half a step, and rounding as above: with bits enough the rows come back.
TEST(Kvarn, MoreBitsAreNearer) {
  const std::vector<float> rows = uneven_rows(128, 64);
  for (const KvPart part : kParts) {
    double before = std::numeric_limits<double>::infinity();
    for (const KvFormat format : {KvFormat::kKvarn2, KvFormat::kKvarn3, KvFormat::kKvarn4,
                                  KvFormat::kKvarn5, KvFormat::kKvarn6, KvFormat::kKvarn8}) {
      const std::vector<float> got = round_trip(format, part, rows, 64);
      double squares = 0;
      for (std::size_t i = 0; i < rows.size(); ++i)
        squares += (got[i] - rows[i]) * (got[i] - rows[i]);
      EXPECT_LT(squares, before / 2) << traits(format).name;
      before = squares;
    }
  }
}

TEST(Kvarn, EqualValuesAndZerosComeBack) {
  for (const float value : {0.0f, 3.5f, -2.0f})
    for (const KvPart part : kParts) {
      const std::vector<float> rows(std::size_t{128} * 64, value);
      for (const float got : round_trip(KvFormat::kKvarn3, part, rows, 64))
        ASSERT_NEAR(got, value, 3 * kHalfUnit * std::abs(value) + 1e-6);
    }
}

// The nearest centroid of each channel: within half of what lies between two, as a share of the
// vector's length; and the length is kept but for the rounding of d.
TEST(Turbo, KeepsLengthsAndIsTheNearestCode) {
  for (const KvFormat format : {KvFormat::kTurbo2, KvFormat::kTurbo3, KvFormat::kTurbo4})
    for (const std::uint32_t dim : {64u, 96u, 256u})
      for (const KvPart part : kParts) {
        Random random(dim);
        const std::vector<float> rows = normal_floats(random, std::size_t{kKvTile} * dim);
        const std::vector<float> got = round_trip(format, part, rows, dim);
        const std::uint32_t slice = traits(format).slice(dim);
        double all = 0, off = 0;
        for (std::size_t begin = 0; begin < rows.size(); begin += slice) {
          double before = 0, after = 0;
          for (std::size_t i = begin; i < begin + slice; ++i) {
            before += double{rows[i]} * rows[i];
            after += double{got[i]} * got[i];
            all += double{rows[i]} * rows[i];
            off += (double{got[i]} - rows[i]) * (double{got[i]} - rows[i]);
          }
          ASSERT_NEAR(std::sqrt(after / before), 1, 1.01 * kHalfUnit);
        }
        // The distortion of these quantizers is 0.1175, 0.0346 and 0.0095 (Max 1960); that of a
        // sample, and of lengths that are kept, differs by a tenth.
        const double distortion[] = {0.1175, 0.0346, 0.0095};
        EXPECT_NEAR(off / all / distortion[traits(format).bits - 2], 1, 0.15)
            << traits(format).name << " " << dim;
      }
}

TEST(KvCodec, CodesGoThroughTheirPlanes) {
  for (const KvFormatTraits& row : kKvFormats)
    for (const KvPart part : kParts) {
      if (!row.quantized()) continue;
      Random random(7);
      std::vector<std::uint8_t> codes(kKvTile * kKvBlock), back(codes.size());
      for (std::uint8_t& code : codes)
        code = static_cast<std::uint8_t>(random.below(std::uint64_t{1} << row.bits));
      std::vector<std::byte> block(kv_planes(row.format).block_bytes());
      pack_codes(row.format, part, codes.data(), kKvBlock, block.data());
      unpack_codes(row.format, part, block.data(), kKvBlock, back.data());
      EXPECT_EQ(back, codes) << row.name;
    }
}

TEST(KvCodec, WhatIsNotFiniteIsNotLost) {
  for (const KvFormatTraits& row : kKvFormats)
    for (const KvPart part : kParts)
      for (const float bad :
           {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        if (!row.quantized()) continue;
        std::vector<float> rows(std::size_t{row.tile()} * 32, 1.0f);
        rows[40] = bad;
        EXPECT_TRUE(std::isnan(round_trip(row.format, part, rows, 32)[40])) << row.name;
      }
}

TEST(KvCodec, BytesOfATile) {
  const auto bits = [](KvFormat format, std::uint32_t dim) {
    const double bytes = static_cast<double>(kv_tile_bytes(format, KvPart::kKeys, dim) +
                                             kv_tile_bytes(format, KvPart::kValues, dim)) /
                         2;
    return bytes * 8 / (traits(format).tile() * dim);
  };
  for (const std::uint32_t dim : {128u, 256u, 512u}) {
    EXPECT_EQ(bits(KvFormat::kKvarn2, dim), 2.375);
    EXPECT_EQ(bits(KvFormat::kKvarn3, dim), 3.375);
    EXPECT_EQ(bits(KvFormat::kKvarn4, dim), 4.375);
    EXPECT_EQ(bits(KvFormat::kKvarn5, dim), 5.375);
    EXPECT_EQ(bits(KvFormat::kKvarn6, dim), 6.375);
    EXPECT_EQ(bits(KvFormat::kKvarn8, dim), 8.375);
    EXPECT_EQ(bits(KvFormat::kTurbo2, dim), 2.125);
    EXPECT_EQ(bits(KvFormat::kTurbo3, dim), 3.125);
    EXPECT_EQ(bits(KvFormat::kTurbo4, dim), 4.125);
  }
  EXPECT_EQ(bits(KvFormat::kTurbo4, 192), 4.25);
  EXPECT_EQ(traits(KvFormat::kKvarn4).slice(96), 32u);
}

TEST(KvRotation, GoesBack) {
  for (const KvFormatTraits& row : kKvFormats)
    for (const KvPart part : kParts)
      for (const std::uint32_t dim : {64u, 96u, 256u}) {
        Random random(5);
        const std::vector<float> x = normal_floats(random, dim);
        std::vector<float> y = x;
        const KvRotation rotation = kv_rotation(row.format, part, dim);
        EXPECT_EQ(dim % rotation.size, 0u);
        rotate(scalar_table(), rotation, dim, y.data());
        EXPECT_EQ(y == x, !row.quantized()) << row.name;
        rotate_back(scalar_table(), rotation, dim, y.data());
        for (std::uint32_t i = 0; i < dim; ++i) ASSERT_NEAR(y[i], x[i], 1e-5) << row.name;
      }
}

}  // namespace
}  // namespace hearth::kernels
