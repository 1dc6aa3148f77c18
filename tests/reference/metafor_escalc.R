# Writes metafor_escalc.json: effect sizes and sampling covariances by metafor and base R, on made-up
# inputs, as the answers that tests/test_effect_sizes.py compares with.
#
#   Rscript metafor_escalc.R > metafor_escalc.json
#
# Needs R with metafor and jsonlite. The package and its tests never run it.

suppressMessages(library(metafor))
library(jsonlite)

pair <- function(fit) list(yi = as.numeric(fit$yi), vi = as.numeric(fit$vi))

# correlations ------------------------------------------------------------------------------------
cor_in <- list(ri = c(-0.62, -0.08, 0, 0.09, 0.47, 0.93), ni = c(12, 49, 25, 15, 35, 158))
correlations <- list(
  inputs = cor_in,
  ZCOR = pair(escalc("ZCOR", ri = cor_in$ri, ni = cor_in$ni)),
  COR = pair(escalc("COR", ri = cor_in$ri, ni = cor_in$ni))
)

mean_in <- list(mu = c(-0.4, 0, 0.2, 0.2, 1.1), tau = c(0.1, 0.3, 0.05, 0.4, 0.7))
mean_r <- list(
  inputs = mean_in,
  value = mapply(function(mu, tau)
    integrate(function(x) tanh(x) * dnorm(x, mu, tau), mu - 12 * tau, mu + 12 * tau,
      rel.tol = 1e-13, subdivisions = 1000)$value, mean_in$mu, mean_in$tau)
)

# two groups --------------------------------------------------------------------------------------
two_in <- list(
  m1i = c(103, 9.2, 4, 50.5), m2i = c(100, 11, 4, 44.1),
  sd1i = c(5.5, 3, 1.2, 8), sd2i = c(4.5, 4.1, 1.1, 9.5),
  n1i = c(50, 8, 20, 130), n2i = c(50, 21, 5, 61)
)
smd <- do.call(escalc, c(list(measure = "SMD"), two_in))
rpb <- do.call(escalc, c(list(measure = "RPB"), two_in))
rbis <- do.call(escalc, c(list(measure = "RBIS"), two_in))
ti <- c(2.1, -0.4, 3.3)
t1 <- c(20, 9, 40); t2 <- c(22, 31, 12)
two_groups <- list(
  inputs = two_in, SMD = pair(smd), RPB = pair(rpb), RBIS = pair(rbis),
  t = list(ti = ti, n1i = t1, n2i = t2, SMD = pair(escalc("SMD", ti = ti, n1i = t1, n2i = t2)))
)

# two-by-two tables -------------------------------------------------------------------------------
tab <- list(
  ai = c(5, 0, 12, 0, 30, 4), bi = c(95, 24, 0, 10, 70, 119),
  ci = c(10, 3, 9, 0, 12, 11), di = c(90, 20, 5, 14, 88, 128)
)
tables <- list(
  inputs = tab,
  OR = pair(do.call(escalc, c(list(measure = "OR"), tab))),
  RR = pair(do.call(escalc, c(list(measure = "RR"), tab))),
  RD = pair(do.call(escalc, c(list(measure = "RD"), tab)))
)

# test statistics (base R) ------------------------------------------------------------------------
p_in <- list(p = c(1e-12, 0.003, 0.05, 0.6), df = c(94, 20, 3, 46.5))
t_for_p <- qt(p_in$p / 2, p_in$df, lower.tail = FALSE)
tests <- list(
  inputs = p_in, t = t_for_p,
  hedges_j = list(df = c(2, 10, 98),
    value = gamma(c(2, 10, 98) / 2) / (sqrt(c(2, 10, 98) / 2) * gamma((c(2, 10, 98) - 1) / 2)))
)
wald_in <- list(est = c(1.21, 0.4), lower = c(1.09, 0.15), upper = c(1.34, 1.07))
z_crit <- qnorm(0.975)
wald <- list(inputs = wald_in,
  z = log(wald_in$est) / ((log(wald_in$upper) - log(wald_in$lower)) / (2 * z_crit)))
# a 2x2 table and two samples, by R's own test functions
phi_table <- matrix(c(30, 12, 70, 88), 2)
chi2 <- chisq.test(phi_table, correct = FALSE)
x <- c(2.1, 3.4, 1.9, 5.6, 4.4, 3.8, 2.7); y <- c(1.2, 2.9, 2.2, 4.1, 2.4, 4.0, 1.1)
ct <- cor.test(x, y); an <- anova(lm(y ~ x))
base <- list(
  chi2 = list(statistic = unname(chi2$statistic), n = sum(phi_table),
    phi = cor(rep(c(1, 1, 0, 0), c(30, 12, 70, 88)), rep(c(1, 0, 1, 0), c(30, 12, 70, 88)))),
  cor = list(r = unname(ct$estimate), t = unname(ct$statistic), df = unname(ct$parameter),
    p = ct$p.value, f = an$`F value`[1])
)

# dependent correlations --------------------------------------------------------------------------
R <- matrix(c(1, .3, .2, -.1, .3, 1, .7, .4, .2, .7, 1, .55, -.1, .4, .55, 1), 4)
vars <- c("w", "x", "y", "z")
long <- data.frame(s = 1, n = 50, r = R[lower.tri(R)],
  a = vars[col(R)[lower.tri(R)]], b = vars[row(R)[lower.tri(R)]])
rc <- rcalc(r ~ a + b | s, ni = n, data = long)
zc <- rcalc(r ~ a + b | s, ni = n, data = long, rtoz = TRUE)
order_of <- function(fit) paste(fit$dat[[2]], fit$dat[[3]], sep = ".")
dependent <- list(
  inputs = list(R = R, n = 50), pairs = paste(long$a, long$b, sep = "."),
  order = order_of(rc),
  r = list(yi = as.numeric(rc$dat$yi), V = unname(as.matrix(rc$V))),
  z = list(yi = as.numeric(zc$dat$yi), V = unname(as.matrix(zc$V)))
)

# aggregation -------------------------------------------------------------------------------------
agg <- data.frame(
  yi = c(0.31, -0.12, 0.55, 0.2, 0.07, 0.41, -0.3, 0.18),
  vi = c(0.02, 0.05, 0.031, 0.01, 0.012, 0.009, 0.08, 0.04),
  cluster = c("b", "a", "b", "c", "c", "c", "d", "b"), es = 1:8
)
es <- escalc("GEN", yi = yi, vi = vi, data = agg)
run <- function(...) {
  fit <- aggregate(es, cluster = cluster, ...)
  list(cluster = as.character(fit$cluster), yi = as.numeric(fit$yi), vi = as.numeric(fit$vi))
}
Vfull <- vcalc(vi, cluster = cluster, obs = es, rho = 0.6, data = agg)
Vfull[4, 5] <- Vfull[5, 4] <- 0.002 # no longer a constant correlation
aggregates <- list(
  inputs = list(yi = agg$yi, vi = agg$vi, cluster = agg$cluster),
  weighted_0.6 = run(rho = 0.6), unweighted_0.6 = run(rho = 0.6, weighted = FALSE),
  independent = run(struct = "ID"), V = unname(as.matrix(Vfull)), weighted_V = run(V = Vfull),
  unweighted_V = run(V = Vfull, weighted = FALSE),
  constant_V_0.6 = unname(as.matrix(vcalc(vi, cluster = cluster, obs = es, rho = 0.6, data = agg)))
)

cat(toJSON(list(
  program = sprintf("metafor %s on %s", packageVersion("metafor"), R.version.string),
  correlations = correlations, mean_r = mean_r, two_groups = two_groups, tables = tables,
  tests = tests, wald = wald, base = base, dependent = dependent, aggregates = aggregates
), digits = I(17), auto_unbox = TRUE, pretty = FALSE))
cat("\n")
